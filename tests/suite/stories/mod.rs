//! Stories over HTTP, told to the running program on both stacks.

/// Tells a story on the embedded stack and on the full one.
///
/// `stories! { async fn a_sentence(site: Site) { … } }` makes a test of each for both.
macro_rules! stories {
    ($($(#[$attribute:meta])* async fn $name:ident($site:ident: Site) $body:block)*) => {
        $(
            async fn $name($site: crate::harness::server::Site) $body
        )*

        mod embedded {
            $(
                $(#[$attribute])*
                #[tokio::test(flavor = "multi_thread")]
                async fn $name() {
                    super::$name(crate::harness::server::Site::new(crate::harness::server::Stack::Embedded).await).await;
                }
            )*
        }

        mod full {
            $(
                $(#[$attribute])*
                #[tokio::test(flavor = "multi_thread")]
                async fn $name() {
                    super::$name(crate::harness::server::Site::migrated().await).await;
                }
            )*
        }
    };
}

pub(crate) use stories;

mod access;
mod accounts;
mod attacks;
mod booking;
mod docs;
mod events;
mod http;
mod limits;
mod listing;
mod live;
mod operation;
mod page;
mod profile;
