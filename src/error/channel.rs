//! What channels refuse, as the words that stand before the colon of a `reason`.

/// Each word with what it means.
pub const CHANNEL_CODES: &[(&str, &str)] = &[
    ("ChannelRateLimitReached", "The socket has as many channels as it may have"),
    ("ClientJoinRateLimitReached", "The socket joined too often within a second"),
    ("ClientPresenceRateLimitReached", "The socket said too often within a second who is there"),
    ("ConnectionRateLimitReached", "The server has as many sockets as it takes"),
    ("InvalidJWTToken", "A token does not hold, or its session is over"),
    ("InvalidJoinPayload", "What a join asks for is not valid"),
    ("JwtSignatureError", "A token is not signed by a key of this server"),
    ("MalformedJWT", "What was sent as a token is none"),
    ("PrivateOnly", "A topic that is not declared cannot be joined here"),
    ("TopicNameRequired", "A topic has no name, or one of more than 246 bytes"),
    ("UnableToSubscribeToPostgres", "The stream of changes does not answer"),
    ("Unauthorized", "No rule of the channel allows it"),
    ("UnknownErrorOnChannel", "Something went wrong on the server"),
];
