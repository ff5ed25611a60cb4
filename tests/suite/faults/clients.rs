//! Clients that hang up, send slowly or flood: they delay no other client.

use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::ledger::{ANSWERED_WITHIN, Outcome};
use super::service::{Service, went_well};
use crate::harness::server::{Instance, Person, Site};

/// The timeouts of a request's head and of its body, and some time for a busy machine.
const DRIBBLED_OUT: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_clients_that_hang_up_delay_no_other_client() {
    let mut service = Service::on(Site::migrated().await).await;
    let begun = Instant::now();
    let people = service.instances[0].people(20).await;
    // An event of its own, because the ledger does not have these bookings.
    let event = service.instances[0].event(&service.admin, 15).await;
    let mut hung_up = 0;
    while hung_up < 2_000 {
        let clients = (0..50).map(|turn| {
            let instance = Arc::clone(&service.instances[turn % 2]);
            let request = booking(&instance, event, &people[turn % 20]);
            let sent = if service.dice.below(2) == 0 { request.len() } else { service.dice.below(request.len()) };
            let waits = Duration::from_micros(service.dice.below(3_000) as u64);
            async move {
                let mut stream = dial(&instance).await;
                stream.write_all(&request.as_bytes()[..sent]).await.unwrap();
                // The time until this client hangs up.
                sleep(waits).await;
                stream.set_zero_linger().unwrap();
            }
        });
        hung_up += join_all(clients.collect::<Vec<_>>()).await.len();
    }
    let noticed: Vec<_> = service.since(begun).into_iter().filter(|entry| !went_well(entry)).collect();
    assert!(noticed.is_empty(), "{noticed:#?}");
    service.heals(Instant::now()).await;
    let detail = service.instances[0].detail(event).await;
    let mut held = 0;
    for person in people {
        held += u64::from(service.instances[1].cancel(event, &person).await.status == 200);
    }
    assert_eq!(detail["registration_count"], held);
    service.reckon().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_clients_are_disconnected_and_delay_no_other_client() {
    let service = Service::on(Site::migrated().await).await;
    let begun = Instant::now();
    let person = service.instances[0].new_user().await;
    let head = booking(&service.instances[0], service.events[0], &person);
    let body = head.replace("Content-Length: 0", "Content-Length: 2000");
    let dribblers = (0..200).map(|turn| {
        let instance = Arc::clone(&service.instances[turn % 2]);
        // A head or a body that does not end.
        let (at_once, slowly) = if turn % 4 < 2 {
            (String::new(), head.trim_end().to_owned() + "\r\nX-More: " + &"x".repeat(2_000))
        } else {
            (body.clone(), " ".repeat(2_000))
        };
        tokio::spawn(dribble(instance, at_once, slowly))
    });
    for outcome in join_all(dribblers.collect::<Vec<_>>()).await {
        let answer = outcome.unwrap();
        let sent_away = ["", "HTTP/1.1 408 ", "HTTP/1.1 400 "]
            .iter()
            .any(|status| if status.is_empty() { answer.is_empty() } else { answer.starts_with(status) });
        assert!(sent_away, "{answer}");
    }
    let noticed: Vec<_> = service.since(begun).into_iter().filter(|entry| !went_well(entry)).collect();
    assert!(noticed.is_empty(), "{noticed:#?}");
    service.reckon().await;
}

/// More log-ins than the machine can hash.
#[tokio::test(flavor = "multi_thread")]
async fn too_many_log_ins_are_refused_at_once_and_delay_no_other_request() {
    let service = Service::on(Site::migrated().await.with("BCRYPT_COST", "10")).await;
    let begun = Instant::now();
    // Each instance hashes on every core and queues 32 for each core: the queue has no place for half of these.
    let cores = available_parallelism().map_or(1, usize::from);
    let flood = (0..2 * 70 * cores.max(3)).map(|turn| {
        let instance = Arc::clone(&service.instances[turn % 2]);
        tokio::spawn(async move {
            let asked = Instant::now();
            let answer = instance.log_in("nobody@example.com", "no password of anybody").await;
            (answer, asked.elapsed())
        })
    });
    let (mut refused, mut answered) = (0, 0);
    for client in join_all(flood.collect::<Vec<_>>()).await {
        let (answer, took) = client.unwrap();
        assert!(took < ANSWERED_WITHIN, "it took {took:?}");
        if answer.status == 503 {
            let problem = answer.expect_problem(503, "unavailable");
            assert!(problem.header("retry-after").parse::<u64>().unwrap() >= 1);
            refused += 1;
        } else {
            answer.expect_problem(401, "invalid_credentials");
            answered += 1;
        }
    }
    assert!(refused > 0 && answered > 0, "{refused} refused, {answered} answered");
    for entry in service.since(begun) {
        let may_fail = matches!(entry.wish, super::ledger::Wish::Other("log in"));
        assert!(may_fail || went_well(&entry), "{entry:?}");
    }
    service.reckon().await;
}

/// A lock keeps all bookings from their commit: each waiting request is refused in time, and no refused
/// booking is made later.
#[tokio::test(flavor = "multi_thread")]
async fn bookings_that_pile_up_are_refused_in_time_and_those_refused_never_act() {
    let mut service = Service::on(Site::migrated().await).await;
    let event = service.events[0];
    let people = service.instances[0].people(60).await;
    let other = crate::harness::store::connect_past(&service.site.database_url()).await;
    sea_orm::ConnectionTrait::execute_unprepared(&other, "BEGIN; LOCK TABLE registrations").await.unwrap();
    let asked = Instant::now();
    let waiting = people.iter().enumerate().map(|(turn, person)| {
        let (instance, person) = (Arc::clone(&service.instances[turn % 2]), person.clone());
        tokio::spawn(async move { (instance.book(event, &person).await, person) })
    });
    let mut refused = Vec::new();
    for client in join_all(waiting.collect::<Vec<_>>()).await {
        let (answer, person) = client.unwrap();
        let problem = answer.expect_problem(503, "unavailable");
        assert!(problem.header("retry-after").parse::<u64>().unwrap() >= 1);
        refused.push(person);
    }
    assert_eq!(refused.len(), people.len());
    assert!(asked.elapsed() < ANSWERED_WITHIN, "it took {:?}", asked.elapsed());
    sea_orm::ConnectionTrait::execute_unprepared(&other, "COMMIT").await.unwrap();
    other.close().await.unwrap();
    service.heals(Instant::now()).await;
    for person in refused {
        service.instances[0].cancel(event, &person).await.expect_problem(404, "registration_not_found");
    }
    let entries = service.reckon().await;
    assert!(entries.iter().any(|entry| matches!(entry.outcome, Outcome::Unavailable(_))));
}

fn booking(instance: &Instance, event: u64, person: &Person) -> String {
    let (address, token) = (address(instance), &person.token);
    format!(
        "POST /api/events/{event}/register HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
         Content-Length: 0\r\n\r\n"
    )
}

fn address(instance: &Instance) -> &str {
    instance.base().trim_start_matches("http://")
}

async fn dial(instance: &Instance) -> TcpStream {
    TcpStream::connect(address(instance)).await.unwrap()
}

/// Sends one text at once and another a byte at a time, until the server closes the connection; returns
/// what the server sent.
async fn dribble(instance: Arc<Instance>, at_once: String, slowly: String) -> String {
    let (mut from, mut to) = dial(&instance).await.into_split();
    to.write_all(at_once.as_bytes()).await.unwrap();
    let sends = async {
        for byte in slowly.as_bytes() {
            // A slow client's pace.
            sleep(Duration::from_millis(100)).await;
            if to.write_all(&[*byte]).await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    let mut said = Vec::new();
    let reads = async {
        // A server that closes while the client still sends may reset the connection.
        let _ = from.read_to_end(&mut said).await;
    };
    let sent_away = async {
        tokio::select! {
            () = sends => {}
            () = reads => {}
        }
    };
    timeout(DRIBBLED_OUT, sent_away).await.expect("the server closes the connection");
    String::from_utf8(said).unwrap()
}
