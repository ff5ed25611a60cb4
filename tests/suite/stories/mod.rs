//! Stories over HTTP: tests that call the running program, on both stacks.

/// Makes two tests of each story, which is a function of a site: one on the embedded stack, one on the full stack.
macro_rules! on_both_stacks {
    ($($story:ident),+ $(,)?) => {
        mod embedded {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $story() {
                    super::$story(crate::harness::server::Site::new(crate::harness::server::Stack::Embedded).await).await;
                }
            )+
        }

        mod full {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $story() {
                    super::$story(crate::harness::server::Site::migrated().await).await;
                }
            )+
        }
    };
}

pub(crate) use on_both_stacks;

mod access;
mod accounts;
mod attacks;
mod booking;
mod broker;
mod by_hand;
mod docs;
mod events;
mod http;
mod limits;
mod listing;
mod live;
mod mail;
mod operation;
mod page;
mod profile;
mod replays;
mod webhooks;
