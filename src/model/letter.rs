//! [`Occasion`]: why somebody gets a letter.

/// Why somebody gets a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Occasion {
    /// Confirm the address that signed up.
    Confirm,
    Invite,
    /// Set another password.
    Recover,
    /// Sign in by link or code.
    MagicLink,
    /// Confirm another address, at the address so far.
    ChangeFrom,
    /// Confirm another address, at that address.
    ChangeTo,
    /// A code that proves presence.
    Reauthenticate,
    /// Somebody tried to sign up with an address that has an account.
    AlreadyRegistered,
    /// The password was changed.
    PasswordChanged,
    /// The address was changed; to the one before.
    AddressChanged,
    /// A second factor was added or taken away.
    FactorChanged,
}

impl Occasion {
    pub const ALL: [Occasion; 11] = [
        Occasion::Confirm,
        Occasion::Invite,
        Occasion::Recover,
        Occasion::MagicLink,
        Occasion::ChangeFrom,
        Occasion::ChangeTo,
        Occasion::Reauthenticate,
        Occasion::AlreadyRegistered,
        Occasion::PasswordChanged,
        Occasion::AddressChanged,
        Occasion::FactorChanged,
    ];

    /// The name of its templates, and the word for it in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Occasion::Confirm => "confirm",
            Occasion::Invite => "invite",
            Occasion::Recover => "recover",
            Occasion::MagicLink => "magic_link",
            Occasion::ChangeFrom => "change_from",
            Occasion::ChangeTo => "change_to",
            Occasion::Reauthenticate => "reauthenticate",
            Occasion::AlreadyRegistered => "already_registered",
            Occasion::PasswordChanged => "password_changed",
            Occasion::AddressChanged => "address_changed",
            Occasion::FactorChanged => "factor_changed",
        }
    }
}
