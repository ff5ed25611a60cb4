//! Who asks: the proofs that use cases want, taken from the `Authorization` header.

use std::future::Future;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::http::header::AUTHORIZATION;
use actix_web::{FromRequest, HttpMessage, HttpRequest};
use application::{Access, AccessError, Admin, Bearer, SignedIn};
use domain::UserId;

use crate::middleware::deadline::Deadline;
use crate::problem::{Code, Problem};
use crate::services::services;

/// A request's author, with the proof that a handler asks for.
pub(crate) struct Caller<P>(pub(crate) P);

/// Any client; but a token that is sent has to be a valid one.
pub(crate) struct Visitor;

/// Whose request it is, for the access log.
#[derive(Clone, Copy)]
pub(crate) struct LoggedUser(pub(crate) UserId);

/// A proof that can be made from the token of a request.
pub(crate) trait Proof: Sized + 'static {
    /// Makes the proof. Without a token it is `None`.
    fn prove(access: &Access, token: Option<&str>)
    -> impl Future<Output = Result<(Self, Option<UserId>), AccessError>>;
}

impl Proof for Bearer {
    async fn prove(access: &Access, token: Option<&str>) -> Result<(Self, Option<UserId>), AccessError> {
        let proof = access.bearer(token.ok_or(AccessError::Unauthenticated)?)?;
        Ok((proof, Some(proof.user())))
    }
}

impl Proof for SignedIn {
    async fn prove(access: &Access, token: Option<&str>) -> Result<(Self, Option<UserId>), AccessError> {
        let proof = access.signed_in(token.ok_or(AccessError::Unauthenticated)?).await?;
        Ok((proof, Some(proof.user())))
    }
}

impl Proof for Admin {
    async fn prove(access: &Access, token: Option<&str>) -> Result<(Self, Option<UserId>), AccessError> {
        let proof = access.admin(token.ok_or(AccessError::Unauthenticated)?).await?;
        Ok((proof, Some(proof.user())))
    }
}

impl Proof for Visitor {
    async fn prove(access: &Access, token: Option<&str>) -> Result<(Self, Option<UserId>), AccessError> {
        let user = match token {
            None => None,
            Some(token) => Some(access.signed_in(token).await?.user()),
        };
        Ok((Self, user))
    }
}

impl<P: Proof> FromRequest for Caller<P> {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            Deadline::watch(&request);
            let token = bearer(&request)?;
            let (proof, user) = P::prove(&services(&request)?.access, token).await?;
            if let Some(user) = user {
                request.extensions_mut().insert(LoggedUser(user));
            }
            Ok(Self(proof))
        })
    }
}

/// The access token of a request that may need it only later.
pub(crate) struct BearerToken(HttpRequest);

impl BearerToken {
    /// The proof that its holder is an admin; `None` without a token.
    pub(crate) async fn admin(&self) -> Result<Option<Admin>, Problem> {
        match bearer(&self.0)? {
            None => Ok(None),
            Some(token) => match services(&self.0)?.access.admin(token).await {
                Ok(admin) => Ok(Some(admin)),
                Err(AccessError::Forbidden) => Ok(None),
                Err(error) => Err(error.into()),
            },
        }
    }
}

impl FromRequest for BearerToken {
    type Error = Problem;
    type Future = std::future::Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        std::future::ready(Ok(Self(request.clone())))
    }
}

/// The token of the `Authorization` header (RFC 6750). Whatever else is in it is no proof of anything.
fn bearer(request: &HttpRequest) -> Result<Option<&str>, Problem> {
    let mut headers = request.headers().get_all(AUTHORIZATION);
    let Some(header) = headers.next() else { return Ok(None) };
    let token = header.to_str().ok().and_then(|header| {
        let (scheme, token) = header.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
    });
    match token {
        Some(token) if headers.next().is_none() => Ok(Some(token)),
        _ => Err(Code::Unauthenticated.into()),
    }
}
