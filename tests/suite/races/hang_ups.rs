//! Clients that hang up before their answer.

use std::time::Duration;

use reqwest::Method;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::service::{Service, assert_detail_adds_up, outcome};
use crate::harness::dice::Dice;
use crate::harness::server::{Request, Site};
use crate::harness::{all_at_once, until};
use crate::stories::on_both_stacks;

on_both_stacks!(
    hundreds_of_clients_that_hang_up_delay_no_other_user,
    a_booking_whose_client_hung_up_can_be_repeated_with_its_key,
);

async fn hundreds_of_clients_that_hang_up_delay_no_other_user(site: Site) {
    let service = Service::start(&site).await;
    let event = service.event(15).await;
    let people = service.people(20).await;
    let mut dice = Dice::new();
    for _ in 0..4 {
        let mut hang_ups = Vec::new();
        for (number, person) in people.iter().cycle().take(60).enumerate() {
            let instance = service.instance(dice.below(2));
            let method = dice.pick(&["POST", "DELETE"]);
            let path = format!("/api/events/{event}/register");
            let patience = Duration::from_micros(dice.below(6000) as u64);
            if number % 3 == 0 {
                let request = Box::new(instance.request(method.parse::<Method>().unwrap(), &path).by(person));
                hang_ups.push(HangUp::InTime { request, patience });
            } else {
                let (address, token) = (instance.base().trim_start_matches("http://"), &person.token);
                let text = format!(
                    "{method} {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nContent-Length: 0\r\n\r\n"
                );
                let sent = if number % 3 == 1 { text.len() } else { dice.below(text.len()) };
                hang_ups.push(HangUp::AfterBytes { address: address.to_owned(), text: text[..sent].to_owned() });
            }
        }
        all_at_once(hang_ups.into_iter().map(HangUp::happen)).await;
        // Whole requests may still be under way; each detail adds up all the same.
        for turn in 0..4 {
            assert_detail_adds_up(&service.instance(turn).detail(event).await);
        }
    }

    // Other users are served at once: no request holds the event's row lock.
    let other = service.people(10).await;
    service.resize(0, event, 100).await.expect(200);
    for (turn, person) in other.iter().enumerate() {
        service.instance(turn).book(event, person).await.expect(201);
    }
    until("the requests of the closed connections have ended", async || {
        let mut seen = Vec::new();
        for turn in 0..20 {
            seen.push(service.instance(turn).detail(event).await);
        }
        seen.iter().all(|detail| *detail == seen[0])
    })
    .await;
    assert!(service.confirmed(event).await >= 10);
    service.stop().await;
}

async fn a_booking_whose_client_hung_up_can_be_repeated_with_its_key(site: Site) {
    let service = Service::start(&site).await;
    let event = service.event(100).await;
    let people = service.people(40).await;
    let mut dice = Dice::new();
    let booking = |turn, person| service.booking(turn, event, person).header("Idempotency-Key", "again");
    let hang_ups: Vec<_> = people
        .iter()
        .enumerate()
        .map(|(turn, person)| HangUp::InTime {
            request: Box::new(booking(turn, person)),
            patience: Duration::from_micros(dice.below(20_000) as u64),
        })
        .collect();
    all_at_once(hang_ups.into_iter().map(HangUp::happen)).await;
    for (turn, person) in people.iter().enumerate() {
        until("the first try has ended", async || {
            let answer = booking(turn + 1, person).send().await;
            assert!(["201", "409 idempotency_in_progress"].contains(&outcome(&answer).as_str()), "{}", answer.text());
            answer.status == 201
        })
        .await;
    }
    assert_eq!(service.confirmed(event).await, 40);
    service.stop().await;
}

/// A client that does not wait for its answer.
enum HangUp {
    /// Closes the connection after this time, at any state of the request.
    InTime { request: Box<Request>, patience: Duration },
    /// Closes the connection as soon as this has been sent.
    AfterBytes { address: String, text: String },
}

impl HangUp {
    async fn happen(self) {
        match self {
            Self::InTime { request, patience } => drop(timeout(patience, request.send()).await),
            Self::AfterBytes { address, text } => {
                let stream = TcpStream::connect(address).await.unwrap();
                stream.writable().await.unwrap();
                assert_eq!(stream.try_write(text.as_bytes()).unwrap(), text.len());
            }
        }
    }
}
