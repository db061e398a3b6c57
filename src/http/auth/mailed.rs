//! Links and codes by mail: `/otp`, `/magiclink`, `/recover`, `/verify`, `/resend`, `/reauthenticate`.

use actix_web::web;

pub(super) fn configure(_cfg: &mut web::ServiceConfig) {}
