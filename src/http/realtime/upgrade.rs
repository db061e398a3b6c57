//! [`Upgrade`]: the way of a connection out of HTTP.
//!
//! A request that asks for a WebSocket leaves the dispatcher with its connection. It is judged by the same application
//! as every other request; if that answers 101 with a [`TakeOver`], the connection is handed over and nothing of HTTP
//! stays in memory for it. Any other answer is written out, and the connection closed.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use actix_codec::Framed;
use actix_http::body::{BodySize, MessageBody as _};
use actix_http::h1::{Codec, Message};
use actix_http::{ConnectionType, Request, Response, StatusCode};
use actix_service::{Service, ServiceFactory};
use actix_web::body::BoxBody;
use actix_web::dev::ServiceResponse;
use actix_web::rt::net::TcpStream;
use actix_web::rt::time::timeout;
use bytes::BytesMut;
use tokio::io::AsyncWriteExt as _;

/// What becomes of a connection after a 101: it and the bytes that came behind the request.
pub(in crate::http) struct TakeOver(pub(super) Box<dyn FnOnce(TcpStream, BytesMut)>);

/// How long a client may take to read an answer that is no 101.
const ANSWER: Duration = Duration::from_secs(5);

/// Makes the service for each worker from what makes its application.
pub(in crate::http) struct Upgrade<F>(pub(in crate::http) F);

/// A connection with the request that wants it.
type Asking = (Request, Framed<TcpStream, Codec>);

impl<F> ServiceFactory<Asking> for Upgrade<F>
where
    F: ServiceFactory<Request, Config = (), Response = ServiceResponse<BoxBody>, Error = actix_web::Error>
        + 'static,
{
    type Response = ();
    type Error = actix_web::Error;
    type Config = ();
    type Service = Upgraded<F::Service>;
    type InitError = F::InitError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Service, F::InitError>>>>;

    fn new_service(&self, (): ()) -> Self::Future {
        let application = self.0.new_service(());
        Box::pin(async move { Ok(Upgraded(Rc::new(application.await?))) })
    }
}

pub(in crate::http) struct Upgraded<S>(Rc<S>);

impl<S> Service<Asking> for Upgraded<S>
where
    S: Service<Request, Response = ServiceResponse<BoxBody>, Error = actix_web::Error> + 'static,
{
    type Response = ();
    type Error = actix_web::Error;
    type Future = Pin<Box<dyn Future<Output = Result<(), actix_web::Error>>>>;

    fn poll_ready(&self, context: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&self, (request, framed): Asking) -> Self::Future {
        let application = Rc::clone(&self.0);
        Box::pin(async move {
            let mut take_over = None;
            let response: Response<BoxBody> = match application.call(request).await {
                Ok(mut answer) => {
                    take_over = answer.response_mut().extensions_mut().remove::<TakeOver>();
                    answer.into()
                }
                Err(error) => error.error_response().into(),
            };
            if let Err(error) = answer(framed, response, take_over).await {
                tracing::debug!(%error, "an answer to who asked for a socket was not taken");
            }
            Ok(())
        })
    }
}

/// Writes the answer, and hands the connection over if that is what was answered.
async fn answer(
    mut framed: Framed<TcpStream, Codec>,
    response: Response<BoxBody>,
    take_over: Option<TakeOver>,
) -> io::Result<()> {
    let (mut head, mut body) = response.into_parts();
    if let (StatusCode::SWITCHING_PROTOCOLS, Some(TakeOver(take_over))) = (head.status(), take_over) {
        write(&mut framed, Message::Item((head, BodySize::None)))?;
        flush(&mut framed).await?;
        let parts = framed.into_parts();
        take_over(parts.io, parts.read_buf);
        return Ok(());
    }
    head.head_mut().set_connection_type(ConnectionType::Close);
    let all = async {
        write(&mut framed, Message::Item((head, body.size())))?;
        while let Some(piece) = poll_fn(|context| Pin::new(&mut body).poll_next(context)).await {
            let piece = piece.map_err(|error| io::Error::other(error.to_string()))?;
            write(&mut framed, Message::Chunk(Some(piece)))?;
            flush(&mut framed).await?;
        }
        write(&mut framed, Message::Chunk(None))?;
        flush(&mut framed).await?;
        framed.io_mut().shutdown().await
    };
    timeout(ANSWER, all).await.map_err(io::Error::other)?
}

type Item = Message<(Response<()>, BodySize)>;

fn write(framed: &mut Framed<TcpStream, Codec>, item: Item) -> io::Result<()> {
    Pin::new(framed).write(item)
}

async fn flush(framed: &mut Framed<TcpStream, Codec>) -> io::Result<()> {
    poll_fn(|context| Pin::new(&mut *framed).flush::<Item>(context)).await
}
