//! [`AuthCode`]: what sign-in refuses, as the stable words that its clients read (`error_code`).

use super::Code;

/// One row a code: the word on the wire, the status, the sentence.
macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $word:literal, $status:literal, $sentence:literal;)*) => {
        /// Why sign-in refuses. A code is never reused for another meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum AuthCode {
            $($(#[$doc])* $name,)*
        }

        impl AuthCode {
            pub const ALL: &[AuthCode] = &[$(AuthCode::$name,)*];

            /// (word, HTTP status, sentence).
            pub(super) fn row(self) -> (&'static str, u16, &'static str) {
                match self {
                    $(AuthCode::$name => ($word, $status, $sentence),)*
                }
            }
        }
    };
}

codes! {
    /// A body or a parameter that says nothing usable; the message names it.
    ValidationFailed = "validation_failed", 400, "The request is not valid";
    NoAuthorization = "no_authorization", 401, "This endpoint requires a Bearer token";
    /// What only somebody with an identity may do.
    AnonymousUser = "no_authorization", 403, "Anonymous user not allowed to perform these actions";
    BadJwt = "bad_jwt", 403, "The token does not hold";
    NotAdmin = "not_admin", 403, "This endpoint is for the secret key";
    UserNotFound = "user_not_found", 404, "User not found";
    /// Of a token whose user is gone.
    TokenUserNotFound = "user_not_found", 403, "User from sub claim in JWT does not exist";
    SessionNotFound = "session_not_found", 403, "Session from session_id claim in JWT does not exist";
    /// Of a session that is named, and not the one that asks.
    NoSuchSession = "session_not_found", 404, "Session not found";
    SessionExpired = "session_expired", 400, "The session has expired: sign in again";
    UserBanned = "user_banned", 403, "User is banned";
    RefreshTokenNotFound = "refresh_token_not_found", 400, "Invalid Refresh Token: Refresh Token Not Found";
    RefreshTokenAlreadyUsed = "refresh_token_already_used", 400, "Invalid Refresh Token: Already Used";
    InvalidCredentials = "invalid_credentials", 400, "Invalid login credentials";
    EmailNotConfirmed = "email_not_confirmed", 400, "Email not confirmed";
    EmailExists = "email_exists", 422, "A user with this email address has already been registered";
    UserAlreadyExists = "user_already_exists", 422, "User already registered";
    SignupDisabled = "signup_disabled", 422, "Signups not allowed for this instance";
    EmailProviderDisabled = "email_provider_disabled", 422, "Email logins are disabled";
    PhoneProviderDisabled = "phone_provider_disabled", 400, "Phone logins are not supported";
    AnonymousProviderDisabled = "anonymous_provider_disabled", 422, "Anonymous sign-ins are disabled";
    ProviderDisabled = "provider_disabled", 400, "Unsupported provider: provider is not enabled";
    EmailAddressInvalid = "email_address_invalid", 400, "Unable to validate email address: invalid format";
    EmailAddressNotProvided = "email_address_not_provided", 400, "An email address is required";
    WeakPassword = "weak_password", 422, "Password is too weak";
    SamePassword = "same_password", 422, "New password should be different from the old password";
    CurrentPasswordRequired = "current_password_required", 400, "The current password is required";
    CurrentPasswordInvalid = "current_password_invalid", 400, "The current password is not right";
    ReauthenticationNeeded = "reauthentication_needed", 400, "Password update requires reauthentication";
    ReauthenticationNotValid = "reauthentication_not_valid", 422, "Nonce has expired or is invalid";
    OtpExpired = "otp_expired", 403, "Token has expired or is invalid";
    OtpDisabled = "otp_disabled", 422, "Signups not allowed for otp";
    InviteNotFound = "invite_not_found", 404, "Invite not found";
    FlowStateNotFound = "flow_state_not_found", 404, "invalid flow state, no valid flow state found";
    FlowStateExpired = "flow_state_expired", 422, "invalid flow state, flow state has expired";
    BadCodeVerifier = "bad_code_verifier", 400, "code challenge does not match previously saved code verifier";
    BadOauthState = "bad_oauth_state", 400, "OAuth callback with invalid state";
    BadOauthCallback = "bad_oauth_callback", 400, "OAuth callback with missing or wrong parameters";
    OauthProviderNotSupported = "oauth_provider_not_supported", 400, "Provider is not supported";
    /// The provider answered what cannot be used, or not at all.
    OauthProviderFailed = "unexpected_failure", 502, "The provider did not answer as it should";
    UnexpectedAudience = "unexpected_audience", 400, "Unacceptable audience in id_token";
    ProviderEmailNeedsVerification = "provider_email_needs_verification", 403, "The provider has not verified the email address: a confirmation was sent to it";
    IdentityNotFound = "identity_not_found", 404, "Identity not found";
    IdentityAlreadyExists = "identity_already_exists", 422, "Identity is already linked to another user";
    SingleIdentityNotDeletable = "single_identity_not_deletable", 422, "User must have at least 1 identity after unlinking";
    EmailConflictIdentityNotDeletable = "email_conflict_identity_not_deletable", 422, "Unable to unlink identity because the user's email address would belong to somebody else";
    ManualLinkingDisabled = "manual_linking_disabled", 404, "Manual linking is disabled";
    FactorNotFound = "mfa_factor_not_found", 404, "Factor not found";
    /// Of a challenge, where the wire has another status.
    ChallengeNotFound = "mfa_factor_not_found", 422, "MFA factor with the provided challenge ID not found";
    FactorNameConflict = "mfa_factor_name_conflict", 422, "A factor with this friendly name exists already";
    VerifiedFactorExists = "mfa_verified_factor_exists", 422, "A verified factor exists";
    ChallengeExpired = "mfa_challenge_expired", 422, "MFA challenge has expired, ask for another one";
    FactorVerificationFailed = "mfa_verification_failed", 422, "Invalid TOTP code entered";
    TooManyFactors = "too_many_enrolled_mfa_factors", 422, "Maximum number of enrolled factors reached, unenroll to continue";
    TotpEnrollDisabled = "mfa_totp_enroll_not_enabled", 422, "MFA enroll is disabled for TOTP";
    TotpVerifyDisabled = "mfa_totp_verify_not_enabled", 422, "MFA verification is disabled for TOTP";
    PhoneFactorDisabled = "mfa_phone_enroll_not_enabled", 422, "MFA enroll is disabled for Phone";
    WebauthnFactorDisabled = "mfa_webauthn_enroll_not_enabled", 422, "MFA enroll is disabled for WebAuthn";
    /// The operator gave no server for mail, or too many letters wait.
    MailUnavailable = "unexpected_failure", 503, "This server cannot send mail";
    InsufficientAal = "insufficient_aal", 403, "AAL2 is required: show a second factor first";
    /// As above where the wire has another status: updates of a user.
    InsufficientAalToUpdate = "insufficient_aal", 401, "AAL2 session is required to update email or password when MFA is enabled";
    /// As above where the wire has another status: unenrolment.
    InsufficientAalToUnenroll = "insufficient_aal", 422, "AAL2 required to unenroll verified factor";
    EmailRateLimit = "over_email_send_rate_limit", 429, "Too many mails: try again later";
    RequestRateLimit = "over_request_rate_limit", 429, "Request rate limit reached";
    Conflict = "conflict", 409, "Too many requests for the same thing at once: try again";
    FeatureDisabled = "feature_disabled", 404, "This feature is not built";
}

impl Code {
    /// What sign-in calls it: word and status. Its clients know words of their own for what befalls any request.
    pub fn in_sign_in(&self) -> (&str, u16) {
        match self {
            Code::Token | Code::Claims => ("bad_jwt", 403),
            Code::CredentialRequired => ("no_authorization", 401),
            Code::UserGone => ("user_not_found", 403),
            Code::UserBanned => ("user_banned", 403),
            Code::SessionEnded => ("session_not_found", 403),
            Code::Body => ("bad_json", 400),
            Code::QueryString | Code::Validation | Code::ContentType => ("validation_failed", 400),
            Code::PayloadTooLarge => ("request_entity_too_large", 413),
            Code::RequestTimeout => ("request_timeout", 408),
            Code::TooManyRequests => ("over_request_rate_limit", 429),
            Code::Path => ("not_found", 404),
            Code::Method => ("method_not_allowed", 405),
            other => match (other.as_str(), other.status()) {
                (_, status @ 500..) => ("unexpected_failure", status),
                word => word,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_one_and_every_status_an_error() {
        for code in AuthCode::ALL {
            let (word, status, sentence) = code.row();
            assert!(word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{word}");
            assert!((400..=599).contains(&status) && !sentence.is_empty(), "{word}");
        }
    }
}
