use super::change::Change;
use uuid::Uuid;
#[derive(Clone, Debug)]
pub enum SystemChange {
    RoleChanged { user: Uuid, xid: u32 },
    KeyRevoked { jti: String },
    Lost,
}
impl SystemChange {
    pub fn of(_c: &Change, _x: u32) -> Option<SystemChange> {
        None
    }
}
