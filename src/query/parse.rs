//! Query parameters → [`Node`].
