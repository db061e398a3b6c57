//! Signing in at a provider: the way there, the way back, and with an ID token that an app has got itself.

use std::sync::Arc;

use aws_lc_rs::constant_time;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::desk::Visit;
use super::flow::{Challenge, ChallengeMethod, Linking, ProviderTokens, Sealed, hex};
use super::identity::{self, Linker, Recognised};
use super::limit::Counted;
use super::provider::ProviderFault;
use super::provider::claims::{ClaimFault, Expected, Written, judge_access_token, subject};
use super::provider::code::{Party, Secrets, Tokens};
use super::provider::github::{self, GitHub};
use super::provider::profile::Profile;
use super::provider::remote::{Remote, json};
use super::refresh::{random, sha256};
use super::session::{Grant, Method};
use super::user;
use crate::db::{DbError, Tx};
use crate::error::{AuthCode, Error};
use crate::model::sign_in::Provider;
use crate::model::{Kind, Scalar};
use crate::sql::Sql;

/// Parameters of the way there that an app may add: everything else there is ours to say.
const PASSED_ON: [&str; 20] = [
    "access_type",
    "acr_values",
    "allow_signup",
    "audience",
    "connection",
    "display",
    "domain_hint",
    "hd",
    "include_granted_scopes",
    "kc_idp_hint",
    "login",
    "login_hint",
    "max_age",
    "organization",
    "prompt",
    "resource",
    "response_format",
    "screen_hint",
    "service",
    "ui_locales",
];
/// How often a sign-in is begun anew because somebody did the same at the same moment.
const TRIES: usize = 4;

/// What somebody asks for who wants to go to a provider.
#[derive(Clone, Debug)]
pub struct Wish {
    pub provider: String,
    /// Further scopes, between spaces or commas.
    pub scopes: Option<String>,
    /// Where the browser goes in the end, judged already.
    pub redirect_to: String,
    /// None is the implicit flow.
    pub challenge: Option<Challenge>,
    /// Further parameters, of which the provider gets those that an app may add.
    pub more: Vec<(String, String)>,
}

/// What a provider's answer carries.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    pub state: Option<String>,
    pub code: Option<String>,
    pub error: Option<String>,
    pub error_description: Option<String>,
    pub issuer: Option<String>,
}

/// Where a sign-in in the browser has led.
pub struct Landing {
    /// The address.
    pub to: String,
    pub outcome: Outcome,
}

pub enum Outcome {
    /// The tokens, for the fragment.
    Session(Box<Grant>),
    /// A code to be exchanged for them.
    Code(String),
    /// `word` is the provider's own (RFC 6749, 4.1.2.1).
    Refused { word: Option<String>, error: Error },
}

/// An ID token that an app has got itself.
#[derive(Clone, Debug)]
pub struct Brought<'a> {
    pub provider: Option<&'a str>,
    pub issuer: Option<&'a str>,
    pub id_token: &'a str,
    pub access_token: Option<&'a str>,
    /// As it was before it was hashed for the provider, or as it is in the token.
    pub nonce: Option<&'a str>,
    /// Add it to the account of whoever is signed in.
    pub link: bool,
}

/// A provider as the project has it.
struct Configured<'a> {
    name: &'a str,
    provider: &'a Provider,
    client_id: &'a str,
    client_secret: Option<&'a str>,
}

/// A sign-in that is under way.
struct UnderWay {
    provider: String,
    nonce: String,
    verifier: String,
    challenge: Option<Challenge>,
    redirect_to: String,
    link: Option<Linker>,
}

impl Visit<'_> {
    /// The address of a provider at which somebody signs in, or links an identity to his account.
    ///
    /// To link takes a challenge (PKCE, RFC 7636): without one, nothing tells the browser that comes back from the one that
    /// left, and somebody could have another's identity put into his own account by sending him the address. To sign in in
    /// the implicit flow has no such proof: whoever follows an address that somebody else began with is signed in as
    /// himself, at a time and at a page of the app that the other has chosen.
    ///
    /// # Errors
    /// `validation_failed` for a provider that the project does not have; 502 if it does not say where to go. Linking:
    /// `manual_linking_disabled`, `insufficient_aal`, and `validation_failed` without a challenge.
    pub async fn depart(&self, wish: Wish, link: bool) -> Result<String, Error> {
        self.limits.from(Counted::SignIn, self.visitor.address)?;
        let at = self.configured(&wish.provider)?;
        let link = if link { Some(self.may_link().await?) } else { None };
        if link.is_some() && wish.challenge.is_none() {
            let sentence = "Linking an identity needs the PKCE flow (flowType: 'pkce')";
            return Err(Error::with(AuthCode::ValidationFailed, sentence));
        }
        let state = text()?;
        let under_way = UnderWay {
            provider: at.name.to_owned(),
            nonce: text()?,
            verifier: text()?,
            challenge: wish.challenge,
            redirect_to: wish.redirect_to,
            link,
        };
        let secrets = Secrets { state: &state, nonce: &under_way.nonce, verifier: &under_way.verifier };
        let asked = wish.scopes.unwrap_or_default();
        let asked = asked.split([' ', ',']).filter(|scope| !scope.is_empty()).map(str::to_owned);
        let further = at.provider.scopes.iter().cloned().chain(asked);
        let more: Vec<(&str, &str)> = wish
            .more
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .filter(|(name, _)| PASSED_ON.contains(name))
            .collect();
        let back = self.callback();
        let address = match self.remote(&at) {
            None => {
                let scopes = scopes([github::SCOPE], further);
                let home = GitHub::at(&self.settings.github_url);
                home.party(at.client_id, at.client_secret, &back).address(&secrets, &scopes, &more)
            }
            Some(remote) => {
                let scopes = scopes(["openid", "email", "profile"], further);
                let known =
                    remote.known(self.desk.outbound()?).await.map_err(|fault| refused(at.name, &fault))?;
                Party::of(&known.metadata, at.client_id, at.client_secret, &back)
                    .and_then(|party| party.address(&secrets, &scopes, &more))
            }
        };
        let address = address.map_err(|fault| refused(at.name, &fault))?;
        self.run(&under_way.insert(&state)).await?;
        Ok(address)
    }

    /// A browser is back from a provider.
    pub async fn arrive(&self, answer: Answer) -> Landing {
        let site = || self.settings.site_url.clone();
        let refused_at = |to, error| Landing { to, outcome: Outcome::Refused { word: None, error } };
        let Some(state) = answer.state.as_deref().filter(|state| !state.is_empty()) else {
            return refused_at(site(), Error::new(AuthCode::BadOauthCallback));
        };
        if let Err(error) = self.limits.from(Counted::Verify, self.visitor.address) {
            return refused_at(site(), error);
        }
        let under_way = match self.claim(state).await {
            Ok(Some(under_way)) => under_way,
            Ok(None) => return refused_at(site(), Error::new(AuthCode::BadOauthState)),
            Err(error) => return refused_at(site(), error),
        };
        let to = under_way.redirect_to.clone();
        if let Some(word) = answer.error.as_deref().filter(|word| !word.is_empty()) {
            let is_word = word.len() <= 64 && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
            let said = answer.error_description.unwrap_or_default();
            let said: String = said.chars().filter(|c| !c.is_control()).take(200).collect();
            let sentence = if said.is_empty() { "The provider let nobody in".to_owned() } else { said };
            let word = if is_word { word.to_owned() } else { "server_error".to_owned() };
            let error = Error::with(AuthCode::BadOauthCallback, sentence);
            return Landing { to, outcome: Outcome::Refused { word: Some(word), error } };
        }
        let provider = under_way.provider.clone();
        match self.come_in(under_way, &answer).await {
            Ok(outcome) => Landing { to, outcome },
            Err(error) => {
                if let Some(source) = &error.source {
                    tracing::error!(provider, source = %source, "a sign-in at a provider failed");
                }
                refused_at(to, error)
            }
        }
    }

    async fn come_in(&self, under_way: UnderWay, answer: &Answer) -> Result<Outcome, Error> {
        let at = self.configured(&under_way.provider)?;
        let code = answer.code.as_deref().filter(|code| !code.is_empty());
        let code = code.ok_or(AuthCode::BadOauthCallback)?;
        let asked = self.ask(&at, &under_way, code, answer.issuer.as_deref()).await;
        let (profile, tokens) = asked.map_err(|fault| refused(at.name, &fault))?;
        let tokens = ProviderTokens { access: Some(tokens.access), refresh: tokens.refresh };
        if let Some(linker) = under_way.link {
            let linking = Linking { provider: at.name.to_owned(), profile };
            return self.wait_to_link(linker, &under_way, Sealed { tokens, linking: Some(linking) }).await;
        }
        for _ in 0..TRIES {
            let tx = self.begin().await?;
            let found = self.recognise(&tx, at.name, &profile).await?;
            let Some(Recognised { mut user, took_over }) = found else {
                tx.rollback().await.map_err(DbError::into_error)?;
                continue;
            };
            let Some(challenge) = &under_way.challenge else {
                let opened = self.open(&tx, &mut user, Method::Oauth).await?;
                self.finish(tx, took_over).await?;
                let grant = self.grant(opened, user)?;
                let grant =
                    Grant { provider_token: tokens.access, provider_refresh_token: tokens.refresh, ..grant };
                return Ok(Outcome::Session(Box::new(grant)));
            };
            let code = self.auth_code_with(&tx, user.id, challenge, &under_way.redirect_to, tokens).await?;
            self.finish(tx, took_over).await?;
            return Ok(Outcome::Code(code));
        }
        Err(AuthCode::Conflict.into())
    }

    /// Keeps what a provider has said until whoever began to link exchanges the code for it.
    ///
    /// # Errors
    /// `identity_already_exists`, and what [`Visit::check_linker`] says.
    async fn wait_to_link(
        &self,
        linker: Linker,
        under_way: &UnderWay,
        sealed: Sealed,
    ) -> Result<Outcome, Error> {
        let challenge = under_way.challenge.as_ref().ok_or(AuthCode::BadOauthState)?;
        let tx = self.begin().await?;
        let user = user::lock(&tx, linker.user).await?.ok_or(AuthCode::BadOauthState)?;
        if let Some(Linking { provider, profile }) = &sealed.linking
            && identity::owner(&tx, provider, &profile.subject).await?.is_some()
        {
            tx.rollback().await.map_err(DbError::into_error)?;
            return Err(AuthCode::IdentityAlreadyExists.into());
        }
        self.check_linker(&tx, &user, linker.session).await?;
        let code = self.link_code(&tx, linker, challenge, &under_way.redirect_to, &sealed).await?;
        tx.commit().await.map_err(DbError::into_error)?;
        Ok(Outcome::Code(code))
    }

    /// Signs in with an ID token (`grant_type=id_token`), or links the identity that it proves.
    ///
    /// # Errors
    /// `validation_failed` for a token that does not hold or a provider that the project does not have,
    /// `unexpected_audience`; where it links, what linking is refused for.
    pub async fn by_id_token(&self, brought: &Brought<'_>) -> Result<Grant, Error> {
        self.limits.from(Counted::SignIn, self.visitor.address)?;
        let link = if brought.link { Some(self.may_link().await?) } else { None };
        let name = match (brought.provider.filter(|name| !name.is_empty()), brought.issuer) {
            (Some(name), _) => name,
            (None, Some(issuer)) => {
                let all = &self.settings.project.oauth;
                let named = all.iter().find(|(_, provider)| provider.issuer.as_deref() == Some(issuer));
                named.map(|(name, _)| name.as_str()).unwrap_or_default()
            }
            (None, None) => "",
        };
        let at = self.configured(name)?;
        let Some(remote) = self.remote(&at) else {
            return Err(AuthCode::OauthProviderNotSupported.into());
        };
        let native = at.provider.audiences.iter().map(String::as_str);
        let audiences: Vec<&str> = [at.client_id].into_iter().chain(native).collect();
        let judged = self.judge_id_token(&remote, brought.id_token, &audiences, brought.access_token).await;
        let claims = judged.map_err(|fault| match fault {
            ProviderFault::Token(ClaimFault::Audience) => Error::new(AuthCode::UnexpectedAudience),
            ProviderFault::Token(fault) => {
                Error::with(AuthCode::ValidationFailed, format!("Bad ID token: {fault}"))
            }
            other => refused(at.name, &other),
        })?;
        judge_nonce(claims.get("nonce"), brought.nonce)?;
        let profile = Profile::of(&claims)
            .map_err(|fault| Error::with(AuthCode::ValidationFailed, format!("Bad ID token: {fault}")))?;
        for _ in 0..TRIES {
            let tx = self.begin().await?;
            let found = self.whose(&tx, at.name, &profile, link).await?;
            let Some(Recognised { mut user, took_over }) = found else {
                tx.rollback().await.map_err(DbError::into_error)?;
                continue;
            };
            let opened = self.open(&tx, &mut user, Method::Oauth).await?;
            self.finish(tx, took_over).await?;
            return self.grant(opened, user);
        }
        Err(AuthCode::Conflict.into())
    }

    async fn whose(
        &self,
        tx: &Tx,
        provider: &str,
        profile: &Profile,
        link: Option<Linker>,
    ) -> Result<Option<Recognised>, Error> {
        match link {
            None => self.recognise(tx, provider, profile).await,
            Some(linker) => {
                let user = self.link(tx, linker, provider, profile).await?;
                Ok(Some(Recognised { user, took_over: false }))
            }
        }
    }

    async fn finish(&self, tx: Tx, took_over: bool) -> Result<(), Error> {
        if took_over { self.commit_known(tx).await } else { self.commit_opened(tx).await }
    }

    fn configured<'a>(&'a self, name: &str) -> Result<Configured<'a>, Error> {
        let unknown =
            || Error::with(AuthCode::ValidationFailed, "Unsupported provider: provider is not enabled");
        let all = &self.settings.project.oauth;
        let (name, provider) = all.get_key_value(name).ok_or_else(unknown)?;
        if provider.issuer.is_none() && name != github::NAME {
            return Err(AuthCode::OauthProviderNotSupported.into());
        }
        let missing = || {
            tracing::error!(provider = name, "a variable that the provider's settings name is not set");
            Error::new(AuthCode::ProviderDisabled)
        };
        let client_id = self.settings.text(&provider.client_id).ok_or_else(missing)?;
        let client_secret = match &provider.client_secret {
            None => None,
            Some(secret) => Some(self.settings.text(secret).ok_or_else(missing)?),
        };
        Ok(Configured { name, provider, client_id, client_secret })
    }

    /// The provider's issuer; GitHub is none.
    fn remote(&self, at: &Configured<'_>) -> Option<Arc<Remote>> {
        at.provider.issuer.as_deref().map(|issuer| self.desk.remotes().of(issuer))
    }

    fn callback(&self) -> String {
        format!("{}/callback", self.settings.issuer())
    }

    /// Exchanges the code, and asks who it is.
    async fn ask(
        &self,
        at: &Configured<'_>,
        under_way: &UnderWay,
        code: &str,
        issuer: Option<&str>,
    ) -> Result<(Profile, Tokens), ProviderFault> {
        let outbound = self.desk.outbound().map_err(|_| ProviderFault::Unreachable)?;
        let back = self.callback();
        let Some(remote) = self.remote(at) else {
            let home = GitHub::at(&self.settings.github_url);
            let party = home.party(at.client_id, at.client_secret, &back);
            let tokens = party.exchange(outbound, code, &under_way.verifier).await?;
            return Ok((home.profile(outbound, &tokens.access).await?, tokens));
        };
        let known = remote.known(outbound).await?;
        let metadata = &known.metadata;
        // An answer of another provider than the one that was asked (RFC 9207, 2.4).
        let is_other = match issuer {
            Some(issuer) => issuer != metadata.issuer,
            None => metadata.authorization_response_iss_parameter_supported,
        };
        if is_other {
            return Err(ProviderFault::Token(ClaimFault::Issuer));
        }
        let party = Party::of(metadata, at.client_id, at.client_secret, &back)?;
        let tokens = party.exchange(outbound, code, &under_way.verifier).await?;
        let id_token = tokens.id.as_deref();
        let id_token =
            id_token.ok_or_else(|| ProviderFault::Answer("the token endpoint", "no ID token".to_owned()))?;
        let mut claims =
            self.judge_id_token(&remote, id_token, &[at.client_id], Some(&tokens.access)).await?;
        if claims.get("nonce").and_then(Value::as_str) != Some(&under_way.nonce) {
            return Err(ClaimFault::Nonce.into());
        }
        if let (false, Some(address)) = (claims.contains_key("email"), &metadata.userinfo_endpoint) {
            let more: Map<String, Value> =
                json(outbound, "the userinfo endpoint", address, Some(&tokens.access)).await?;
            // It may speak of somebody else (OpenID Connect Core 5.3.2).
            if subject(&more)? != subject(&claims)? {
                return Err(ClaimFault::Claim("sub").into());
            }
            for (name, value) in more {
                claims.entry(name).or_insert(value);
            }
        }
        Ok((Profile::of(&claims)?, tokens))
    }

    /// The claims of an ID token that holds.
    async fn judge_id_token(
        &self,
        remote: &Arc<Remote>,
        id_token: &str,
        audiences: &[&str],
        access_token: Option<&str>,
    ) -> Result<Map<String, Value>, ProviderFault> {
        let written = Written::read(id_token)?;
        let outbound = self.desk.outbound().map_err(|_| ProviderFault::Unreachable)?;
        let known = remote.known_for(outbound, &written).await?;
        let algorithm = written.algorithm;
        let expected = Expected { issuer: &known.metadata.issuer, audiences, is_id_token: true };
        let claims = written.verify(&known.keys, &expected, self.now)?;
        if let Some(token) = access_token {
            judge_access_token(&claims, algorithm, token)?;
        }
        Ok(claims)
    }

    /// The sign-in that a state belongs to: for whoever comes first, and nobody after him.
    async fn claim(&self, state: &str) -> Result<Option<UnderWay>, Error> {
        let mut sql = Sql::new();
        sql.raw("delete from auth.flows where expires_at > now() and state_hash = ")
            .bind(Kind::one(Scalar::Bytes), Some(hex(&sha256(state.as_bytes()))))
            .raw(
                " returning provider, nonce, verifier, code_challenge, code_challenge_method, redirect_to, link_to::text, link_session::text",
            );
        let rows = self.run(&sql).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let text = |column: usize| row.text(column).map(str::to_owned);
        let challenge = text(3).zip(row.text(4).and_then(ChallengeMethod::parse));
        let read = || {
            Some(UnderWay {
                provider: text(0)?,
                nonce: text(1)?,
                verifier: text(2)?,
                challenge: challenge.map(|(challenge, method)| Challenge { challenge, method }),
                redirect_to: text(5)?,
                link: match (row.text(6), row.text(7)) {
                    (None, None) => None,
                    (user, session) => {
                        Some(Linker { user: user?.parse().ok()?, session: session?.parse().ok()? })
                    }
                },
            })
        };
        read().map(Some).ok_or_else(|| Error::internal("a sign-in that is under way cannot be read"))
    }
}

impl UnderWay {
    /// The statement that remembers it, and forgets some of those that were given up.
    fn insert(&self, state: &str) -> Sql {
        let challenge = self.challenge.as_ref();
        let mut sql = Sql::new();
        sql.raw(
            "with over as (delete from auth.flows where id in (select id from auth.flows \
             where expires_at < now() - interval '1 hour' order by expires_at limit 20 for update skip locked)) \
             insert into auth.flows (state_hash, provider, nonce, verifier, code_challenge, code_challenge_method, \
             redirect_to, link_to, link_session, expires_at) values (",
        )
        .bind(Kind::one(Scalar::Bytes), Some(hex(&sha256(state.as_bytes()))))
        .raw(", ")
        .bind_text(&self.provider)
        .raw(", ")
        .bind_text(&self.nonce)
        .raw(", ")
        .bind_text(&self.verifier)
        .raw(", ")
        .bind(Kind::TEXT, challenge.map(|known| known.challenge.clone()))
        .raw(", ")
        .bind(Kind::TEXT, challenge.map(|known| known.method.as_str().to_owned()))
        .raw(", ")
        .bind_text(&self.redirect_to)
        .raw(", ")
        .bind(Kind::UUID, self.link.map(|linker| linker.user.to_string()))
        .raw(", ")
        .bind(Kind::UUID, self.link.map(|linker| linker.session.to_string()))
        .raw(", now() + interval '10 minutes')");
        sql
    }
}

/// 256 random bits as text.
fn text() -> Result<String, Error> {
    Ok(URL_SAFE_NO_PAD.encode(random::<32>().map_err(Error::internal)?))
}

fn scopes<const N: usize>(usual: [&str; N], further: impl Iterator<Item = String>) -> Vec<String> {
    let mut all: Vec<String> = usual.map(str::to_owned).to_vec();
    for scope in further {
        if !all.contains(&scope) {
            all.push(scope);
        }
    }
    all
}

/// The nonce is in the token as it was, or as its SHA-256; it is in both or in neither.
fn judge_nonce(claim: Option<&Value>, nonce: Option<&str>) -> Result<(), Error> {
    let said = claim.and_then(Value::as_str).filter(|said| !said.is_empty());
    match (said, nonce.filter(|nonce| !nonce.is_empty())) {
        (None, None) if claim.is_none_or(|claim| claim == "") => Ok(()),
        (Some(said), Some(nonce)) => {
            let digits = hex(&sha256(nonce.as_bytes()));
            let is =
                |text: &str| constant_time::verify_slices_are_equal(said.as_bytes(), text.as_bytes()).is_ok();
            if is(nonce) || digits.strip_prefix("\\x").is_some_and(is) {
                Ok(())
            } else {
                Err(Error::with(AuthCode::ValidationFailed, "The nonce is not the one of the id_token"))
            }
        }
        _ => {
            let sentence = "A nonce has to be in the id_token and in the request, or in neither";
            Err(Error::with(AuthCode::ValidationFailed, sentence))
        }
    }
}

/// What the user is told of a provider's failure; the operator finds the rest in the log.
fn refused(provider: &str, fault: &ProviderFault) -> Error {
    tracing::warn!(provider, %fault, "a provider let nobody in");
    match fault {
        ProviderFault::Code(_) => {
            Error::with(AuthCode::BadOauthCallback, "The provider refused the authorization code")
        }
        ProviderFault::Token(_) => {
            Error::with(AuthCode::BadOauthCallback, "The provider's answer does not hold")
        }
        ProviderFault::Outbound(_)
        | ProviderFault::Status(..)
        | ProviderFault::Answer(..)
        | ProviderFault::Issuer(_)
        | ProviderFault::Unreachable => AuthCode::OauthProviderFailed.into(),
    }
}
