//! Who shares which run, and what a run that hangs, panics or is abandoned does to whom.

use std::future::poll_fn;
use std::pin::pin;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{JoinHandle, yield_now};

use super::*;

/// A run that has begun, waiting to be told what to answer.
struct Begun {
    key: u8,
    questions: Vec<u8>,
    finish: oneshot::Sender<&'static str>,
}

/// For answers that come: a busy machine shall not look like one that hangs.
const AMPLE: Duration = Duration::from_secs(30);

fn rounds(lanes: usize) -> (Arc<SharedReads<u8, u8, &'static str>>, UnboundedReceiver<Begun>) {
    patient_rounds(lanes, AMPLE)
}

fn patient_rounds(
    lanes: usize,
    patience: Duration,
) -> (Arc<SharedReads<u8, u8, &'static str>>, UnboundedReceiver<Begun>) {
    let (begun, runs) = unbounded_channel();
    let rounds = SharedReads::new("test", Handle::current(), lanes, patience, move |key, questions| {
        let begun: UnboundedSender<Begun> = begun.clone();
        async move {
            let (finish, finished) = oneshot::channel();
            begun.send(Begun { key, questions, finish }).ok().unwrap();
            finished.await.expect("a run is told what to answer, or panics")
        }
    });
    (Arc::new(rounds), runs)
}

fn ask(
    rounds: &Arc<SharedReads<u8, u8, &'static str>>,
    key: u8,
    question: u8,
) -> JoinHandle<Result<&'static str, NoAnswer>> {
    let rounds = Arc::clone(rounds);
    tokio::spawn(async move { rounds.ask(key, question).await })
}

async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        yield_now().await;
    }
}

#[tokio::test]
async fn a_caller_joins_no_run_that_began_before_its_call() {
    let (rounds, mut runs) = rounds(1);
    let first = ask(&rounds, 7, 1);
    let run = runs.recv().await.unwrap();
    assert_eq!((run.key, &run.questions[..]), (7, &[1][..]));

    let late = ask(&rounds, 7, 2);
    until(|| rounds.waiting(&7) == 1).await;
    run.finish.send("old").unwrap();
    assert_eq!(first.await.unwrap(), Ok("old"));

    let run = runs.recv().await.unwrap();
    assert_eq!(run.questions, [2]);
    run.finish.send("new").unwrap();
    assert_eq!(late.await.unwrap(), Ok("new"));
    until(|| rounds.open() == 0).await;
}

#[tokio::test]
async fn all_waiting_callers_share_the_next_run() {
    let (rounds, mut runs) = rounds(1);
    let first = ask(&rounds, 7, 0);
    let run = runs.recv().await.unwrap();
    let crowd: Vec<_> = (1..=100).map(|question| ask(&rounds, 7, question)).collect();
    until(|| rounds.waiting(&7) == 100).await;
    run.finish.send("first").unwrap();
    assert_eq!(first.await.unwrap(), Ok("first"));

    let mut run = runs.recv().await.unwrap();
    run.questions.sort_unstable();
    assert_eq!(run.questions, (1..=100).collect::<Vec<_>>());
    run.finish.send("second").unwrap();
    for one in crowd {
        assert_eq!(one.await.unwrap(), Ok("second"));
    }
    assert!(runs.try_recv().is_err());
}

#[tokio::test]
async fn a_slow_run_leaves_the_other_lane_free() {
    let (rounds, mut runs) = rounds(2);
    let slow = ask(&rounds, 7, 1);
    let stuck = runs.recv().await.unwrap();
    for question in 2..5 {
        let quick = ask(&rounds, 7, question);
        runs.recv().await.unwrap().finish.send("quick").unwrap();
        assert_eq!(quick.await.unwrap(), Ok("quick"));
    }
    stuck.finish.send("slow").unwrap();
    assert_eq!(slow.await.unwrap(), Ok("slow"));
}

#[tokio::test]
async fn no_more_runs_are_under_way_than_there_are_lanes() {
    let (rounds, mut runs) = rounds(2);
    let _first = ask(&rounds, 7, 1);
    let _held = runs.recv().await.unwrap();
    let _second = ask(&rounds, 7, 2);
    let _also_held = runs.recv().await.unwrap();
    let _third = ask(&rounds, 7, 3);
    until(|| rounds.waiting(&7) == 1).await;
    assert!(runs.try_recv().is_err());
}

#[tokio::test]
async fn callers_behind_a_hanging_run_time_out() {
    let (rounds, mut runs) = patient_rounds(1, Duration::from_millis(20));
    let first = ask(&rounds, 7, 1);
    let _hangs = runs.recv().await.unwrap();
    let behind = ask(&rounds, 7, 2);
    let late = Err(NoAnswer::Late(Duration::from_millis(20)));
    assert_eq!((behind.await.unwrap(), first.await.unwrap()), (late, late));
}

#[tokio::test]
async fn keys_do_not_wait_for_each_other() {
    let (rounds, mut runs) = rounds(1);
    let _one = ask(&rounds, 1, 0);
    let _held = runs.recv().await.unwrap();
    let two = ask(&rounds, 2, 0);
    let run = runs.recv().await.unwrap();
    assert_eq!(run.key, 2);
    run.finish.send("two").unwrap();
    assert_eq!(two.await.unwrap(), Ok("two"));
}

#[tokio::test]
async fn a_cancelled_caller_affects_no_other_and_leaves_nothing() {
    let (rounds, mut runs) = rounds(1);
    let first = ask(&rounds, 7, 1);
    let run = runs.recv().await.unwrap();
    let gone = ask(&rounds, 7, 2);
    until(|| rounds.waiting(&7) == 1).await;
    let stays = ask(&rounds, 7, 3);
    until(|| rounds.waiting(&7) == 2).await;
    first.abort();
    gone.abort();
    assert!(first.await.is_err() && gone.await.is_err());
    run.finish.send("to nobody").unwrap();

    let run = runs.recv().await.unwrap();
    assert_eq!(run.questions, [3], "the run has no question of a caller that hung up");
    run.finish.send("answer").unwrap();
    assert_eq!(stays.await.unwrap(), Ok("answer"));
    until(|| rounds.open() == 0).await;
}

#[tokio::test]
async fn a_panicking_run_fails_only_the_callers_that_shared_it() {
    let (rounds, mut runs) = rounds(1);
    let unlucky = ask(&rounds, 7, 1);
    let run = runs.recv().await.unwrap();
    let lucky = ask(&rounds, 7, 2);
    until(|| rounds.waiting(&7) == 1).await;
    drop(run.finish);
    assert_eq!(unlucky.await.unwrap(), Err(NoAnswer::Lost));
    runs.recv().await.unwrap().finish.send("well").unwrap();
    assert_eq!(lucky.await.unwrap(), Ok("well"));
    until(|| rounds.open() == 0).await;
}

#[test]
fn a_nearby_run_begins_after_all_pending_callers_asked() {
    let rounds =
        Arc::new(SharedReads::nearby("test", 1, AMPLE, |_: u8, questions: Vec<u8>| async move { questions.len() }));
    let askers = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    askers.block_on(async {
        let crowd: Vec<_> = (0..50)
            .map(|question| {
                let rounds = Arc::clone(&rounds);
                tokio::spawn(async move { rounds.ask(7, question).await })
            })
            .collect();
        for one in crowd {
            assert_eq!(one.await.unwrap(), Ok(50));
        }
    });
}

#[test]
fn a_runtime_that_is_gone_answers_an_error_at_once() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let rounds: SharedReads<u8, u8, u8> =
        SharedReads::new("test", runtime.handle().clone(), 1, AMPLE, |_, _| std::future::pending());
    let askers = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    askers.block_on(async {
        let mut waiting = pin!(rounds.ask(7, 1));
        let pending = poll_fn(|context| std::task::Poll::Ready(waiting.as_mut().poll(context).is_pending())).await;
        assert!(pending);
        runtime.shutdown_background();
        assert_eq!(waiting.await, Err(NoAnswer::Lost));
        assert_eq!(rounds.ask(7, 2).await, Err(NoAnswer::Lost));
        assert_eq!(rounds.open(), 0);
    });
}
