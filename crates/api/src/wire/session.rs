//! Signing up, logging in and staying logged in, as clients do it.

use application::SessionGrant;
use domain::{EmailAddress, Password, PersonName, Role};
use garde::Validate;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::User;
use crate::field::{Given, present, sound};
use crate::problem::Problem;

/// The data of a sign-up.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[schema(as = SignUpRequest)]
#[garde(context(()))]
pub(crate) struct SignUp {
    #[serde(default)]
    #[garde(custom(present))]
    #[schema(required = true, value_type = String, min_length = 1, max_length = 100, pattern = r"^[^\x00-\x1f\x7f-\x9f]*\S[^\x00-\x1f\x7f-\x9f]*$", example = "Ada Lovelace")]
    name: Given<PersonName>,
    /// Compared without regard to case.
    #[serde(default)]
    #[garde(custom(present))]
    #[schema(required = true, value_type = String, format = Email, min_length = 3, max_length = 254, example = "ada@example.com")]
    email: Given<EmailAddress>,
    /// 8 characters to 71 bytes in UTF-8, without NUL.
    #[serde(default)]
    #[garde(custom(present))]
    #[schema(required = true, value_type = String, format = Password, min_length = 8, max_length = 71, pattern = r"^[^\x00]*$", example = "correct horse battery")]
    password: Given<Password>,
    #[serde(default)]
    #[garde(custom(sound))]
    #[schema(value_type = Option<super::user::Role>, nullable = false)]
    role: Given<Role>,
}

impl SignUp {
    /// The person, and the role they ask for.
    pub(crate) fn into_person(self) -> Result<(application::SignUp, Role), Problem> {
        let person = application::SignUp {
            name: self.name.required("name")?,
            email: self.email.required("email")?,
            password: self.password.required("password")?,
        };
        Ok((person, self.role.optional().unwrap_or_default()))
    }
}

/// The credentials of a log-in.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[schema(as = LogInRequest)]
#[garde(context(()))]
pub(crate) struct LogIn {
    #[serde(default)]
    #[garde(custom(present))]
    #[schema(required = true, value_type = String, max_length = 65_536, example = "ada@example.com")]
    email: Given<String>,
    #[serde(default)]
    #[garde(custom(present))]
    #[schema(required = true, value_type = String, format = Password, max_length = 65_536, example = "correct horse battery")]
    password: Given<String>,
}

impl LogIn {
    /// The address and the password, as they were typed.
    pub(crate) fn into_parts(self) -> Result<(String, String), Problem> {
        Ok((self.email.required("email")?, self.password.required("password")?))
    }
}

/// A refresh token on its way back.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[schema(as = RefreshTokenRequest)]
#[garde(context(()))]
pub(crate) struct RefreshToken {
    #[serde(default)]
    #[garde(custom(present))]
    #[schema(required = true, value_type = String, max_length = 65_536, example = "mP0m3kVY0x7kRkQeT2v0yq1hVh4i8C0b1v5nQ2w3e4r")]
    refresh_token: Given<String>,
}

impl RefreshToken {
    /// The token.
    pub(crate) fn into_secret(self) -> Result<String, Problem> {
        self.refresh_token.required("refresh_token")
    }
}

/// Tokens for the next requests.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Session)]
pub(crate) struct Grant {
    user: User,
    /// The access token: a JSON Web Token, sent as `Authorization: Bearer <token>`.
    #[schema(max_length = 8192, example = "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.eyJ1c2VySWQiOjd9.c2lnbmF0dXJl")]
    token: String,
    /// Good for one new grant. Opaque.
    #[schema(max_length = 128, example = "mP0m3kVY0x7kRkQeT2v0yq1hVh4i8C0b1v5nQ2w3e4r")]
    refresh_token: String,
    token_type: TokenType,
    /// How long the access token is valid, in seconds.
    #[schema(minimum = 1, maximum = 4_294_967_295_i64, example = 86_400)]
    expires_in: u32,
}

/// How the access token is sent.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) enum TokenType {
    Bearer,
}

impl From<&SessionGrant> for Grant {
    fn from(grant: &SessionGrant) -> Self {
        Self {
            user: (&grant.user).into(),
            token: grant.access.text.clone(),
            refresh_token: grant.refresh.expose().to_owned(),
            token_type: TokenType::Bearer,
            expires_in: grant.access.ttl_secs,
        }
    }
}
