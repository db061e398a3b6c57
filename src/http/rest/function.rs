//! `/rest/v1/rpc/{function}`: no functions can be declared, so every name is one that does not exist.

use actix_web::http::Method;
use actix_web::{HttpRequest, HttpResponse, web};

use super::headers;
use crate::error::{Code, Error};
use crate::http::principal::Caller;
use crate::http::reply::Failure;
use crate::query::parse;

/// A call, whoever asks.
///
/// # Errors
/// PGRST202 (404), PGRST101 (405) for methods that call no function; 401 as everywhere.
pub(super) async fn call(
    request: HttpRequest,
    _caller: Caller,
    function: web::Path<String>,
) -> Result<HttpResponse, Failure> {
    headers::schema(&request)?;
    let method = request.method();
    if [Method::PUT, Method::PATCH, Method::DELETE].contains(method) {
        return Err(Failure(Error::with(
            Code::FunctionMethod,
            format!("Cannot use the {method} method on RPC"),
        )));
    }
    let mut names = Vec::new();
    if [Method::GET, Method::HEAD].contains(method) {
        names.extend(parse::parameters(request.query_string())?.into_iter().map(|(name, _)| name));
    }
    let signature = match names.is_empty() {
        true => format!("public.{function}"),
        false => format!("public.{function}({})", names.join(", ")),
    };
    Err(Failure(Error::with(
        Code::NoFunction,
        format!("Could not find the function {signature} in the schema cache"),
    )))
}
