//! The authorization code flow (RFC 6749, 4.1; OpenID Connect Core 3.1), with PKCE, state and nonce always.

use oauth2::basic::{BasicErrorResponse, BasicRevocationErrorResponse};
use oauth2::basic::{BasicTokenIntrospectionResponse, BasicTokenType};
use oauth2::{
    AuthType, AuthUrl, AuthorizationCode, Client, ClientId, ClientSecret, CsrfToken, EndpointNotSet,
    EndpointSet, ExtraTokenFields, HttpRequest, HttpResponse, PkceCodeChallenge, PkceCodeVerifier,
    RedirectUrl, RequestTokenError, Scope, StandardRevocableToken, StandardTokenResponse, TokenResponse as _,
    TokenUrl,
};
use serde::{Deserialize, Serialize};

use super::ProviderFault;
use super::remote::Metadata;
use crate::auth::outbound::{Outbound, OutboundFault};

/// Where and as whom a provider is asked.
#[derive(Clone, Debug)]
pub struct Party<'a> {
    pub client_id: &'a str,
    pub client_secret: Option<&'a str>,
    /// Where the provider sends the browser back to.
    pub redirect_uri: &'a str,
    pub authorization_endpoint: &'a str,
    pub token_endpoint: &'a str,
    /// Whether the secret travels in the body of a request instead of its header.
    pub secret_in_body: bool,
}

impl<'a> Party<'a> {
    /// A client of an issuer.
    ///
    /// # Errors
    /// An issuer that does not say where the flow is.
    pub fn of(
        metadata: &'a Metadata,
        client_id: &'a str,
        client_secret: Option<&'a str>,
        redirect_uri: &'a str,
    ) -> Result<Party<'a>, ProviderFault> {
        let missing =
            || ProviderFault::Answer("discovery", "it names no endpoints of the code flow".to_owned());
        let methods = &metadata.token_endpoint_auth_methods_supported;
        let names = |method: &str| methods.iter().any(|known| known == method);
        Ok(Party {
            client_id,
            client_secret,
            redirect_uri,
            authorization_endpoint: metadata.authorization_endpoint.as_deref().ok_or_else(missing)?,
            token_endpoint: metadata.token_endpoint.as_deref().ok_or_else(missing)?,
            secret_in_body: names("client_secret_post") && !names("client_secret_basic"),
        })
    }
}

/// What one sign-in at a provider is recognised by.
#[derive(Clone, Debug)]
pub struct Secrets<'a> {
    pub state: &'a str,
    pub nonce: &'a str,
    pub verifier: &'a str,
}

/// What a provider hands out for a code.
#[derive(Clone, Debug)]
pub struct Tokens {
    pub access: String,
    pub refresh: Option<String>,
    pub id: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct IdToken {
    id_token: Option<String>,
}

impl ExtraTokenFields for IdToken {}

type Flow = Client<
    BasicErrorResponse,
    StandardTokenResponse<IdToken, BasicTokenType>,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
>;

impl Party<'_> {
    fn flow(&self) -> Result<Flow, ProviderFault> {
        let wrong = |fault: url::ParseError| ProviderFault::Answer("an endpoint", fault.to_string());
        let auth_type = if self.secret_in_body { AuthType::RequestBody } else { AuthType::BasicAuth };
        let flow = Client::new(ClientId::new(self.client_id.to_owned()))
            .set_auth_uri(AuthUrl::new(self.authorization_endpoint.to_owned()).map_err(wrong)?)
            .set_token_uri(TokenUrl::new(self.token_endpoint.to_owned()).map_err(wrong)?)
            .set_redirect_uri(RedirectUrl::new(self.redirect_uri.to_owned()).map_err(wrong)?)
            .set_auth_type(auth_type);
        Ok(match self.client_secret {
            Some(secret) => flow.set_client_secret(ClientSecret::new(secret.to_owned())),
            None => flow,
        })
    }

    /// Where the browser goes. `more` are parameters that the app adds.
    ///
    /// # Errors
    /// A provider whose addresses are none.
    pub fn address(
        &self,
        secrets: &Secrets<'_>,
        scopes: &[String],
        more: &[(&str, &str)],
    ) -> Result<String, ProviderFault> {
        let verifier = PkceCodeVerifier::new(secrets.verifier.to_owned());
        let flow = self.flow()?;
        let mut request = flow
            .authorize_url(|| CsrfToken::new(secrets.state.to_owned()))
            .add_scopes(scopes.iter().cloned().map(Scope::new))
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier))
            .add_extra_param("nonce", secrets.nonce.to_owned());
        for (name, value) in more {
            request = request.add_extra_param((*name).to_owned(), (*value).to_owned());
        }
        Ok(request.url().0.into())
    }

    /// Exchanges a code.
    ///
    /// # Errors
    /// A code that the provider refuses, or a provider that does not answer as it should.
    pub async fn exchange(
        &self,
        outbound: &Outbound,
        code: &str,
        verifier: &str,
    ) -> Result<Tokens, ProviderFault> {
        let ask = |request: HttpRequest| send(outbound, request);
        let answer = self
            .flow()?
            .exchange_code(AuthorizationCode::new(code.to_owned()))
            .set_pkce_verifier(PkceCodeVerifier::new(verifier.to_owned()))
            .request_async(&ask)
            .await
            .map_err(|fault| match fault {
                RequestTokenError::ServerResponse(refusal) => {
                    ProviderFault::Code(refusal.error().to_string())
                }
                RequestTokenError::Request(fault) => fault.into(),
                RequestTokenError::Parse(fault, _) => {
                    ProviderFault::Answer("the token endpoint", fault.to_string())
                }
                RequestTokenError::Other(fault) => ProviderFault::Answer("the token endpoint", fault),
            })?;
        Ok(Tokens {
            access: answer.access_token().secret().clone(),
            refresh: answer.refresh_token().map(|token| token.secret().clone()),
            id: answer.extra_fields().id_token.clone(),
        })
    }
}

async fn send(outbound: &Outbound, request: HttpRequest) -> Result<HttpResponse, OutboundFault> {
    let answer = outbound.send(reqwest::Request::try_from(request)?).await?;
    let mut response = HttpResponse::new(answer.body);
    *response.status_mut() = answer.status;
    if let Some(value) = answer.content_type.and_then(|text| text.parse().ok()) {
        response.headers_mut().insert(oauth2::http::header::CONTENT_TYPE, value);
    }
    Ok(response)
}
