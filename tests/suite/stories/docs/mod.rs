//! The OpenAPI document and the pages around it: the server has to answer as they say.
//!
//! | module | what it holds |
//! |---|---|
//! | `document` | the document, read: its operations, references and examples |
//! | `schema` | the part of JSON Schema that the document uses |
//! | `contents` | what the document has to contain, without a server |
//! | `calls` | every call of the document, made as it says |
//! | `pages` | the pages for people: the API page, and one for each code |

mod calls;
mod contents;
mod document;
mod pages;
mod schema;
