//! Each address goes to one user, and each refresh token is spent once.

use serde_json::{Value, json};

use super::service::{Service, at_once, counts, tally};
use crate::harness::server::{Answer, PASSWORD, Site};
use crate::stories::on_both_stacks;

on_both_stacks!(
    an_address_goes_to_one_of_those_who_sign_up_with_it,
    an_address_goes_to_one_of_those_who_move_to_it,
    a_refresh_token_is_spent_once_and_coming_back_ends_its_family,
);

async fn an_address_goes_to_one_of_those_who_sign_up_with_it(site: Site) {
    let service = Service::start(&site).await;
    let addresses = ["ada@example.com", "Ada@Example.com", " ADA@EXAMPLE.COM "];
    let sign_ups = (0..30).map(|turn| {
        let body = json!({ "name": format!("Ada {turn}"), "email": addresses[turn % 3], "password": PASSWORD });
        service.instance(turn).post("/api/auth/register", &body)
    });
    let answers = at_once(sign_ups).await;
    assert_eq!(tally(&answers), counts(&[("201", 1), ("409 email_taken", 29)]));
    let winner = answers.iter().find(|answer| answer.status == 201).unwrap().json();
    let credentials = json!({ "email": "ada@example.com", "password": PASSWORD });
    for instance in &service.instances {
        let logged_in = instance.post("/api/auth/login", &credentials).send().await.expect(200).json();
        assert_eq!(logged_in["user"], winner["user"]);
    }
    service.stop().await;
}

async fn an_address_goes_to_one_of_those_who_move_to_it(site: Site) {
    let service = Service::start(&site).await;
    let people = service.people(20).await;
    let moves = people.iter().enumerate().map(|(turn, person)| {
        service.instance(turn).put("/api/users/me", &json!({ "email": "wanted@example.com" })).by(person)
    });
    assert_eq!(tally(&at_once(moves).await), counts(&[("200", 1), ("409 email_taken", 19)]));
    service.stop().await;
}

async fn a_refresh_token_is_spent_once_and_coming_back_ends_its_family(site: Site) {
    let service = Service::start(&site).await;
    let ada = service.a().new_user().await;
    let refresh =
        |turn, token: &Value| service.instance(turn).post("/api/auth/refresh", &json!({ "refresh_token": token }));
    let token = json!(ada.refresh_token);
    let answers = at_once((0..30).map(|turn| refresh(turn, &token))).await;
    let counted = tally(&answers);
    for told in counted.keys() {
        let fair = ["200", "401 refresh_token_reused", "401 invalid_refresh_token"];
        assert!(fair.contains(&told.as_str()), "{counted:?}");
    }
    let winners: Vec<_> = answers.iter().filter(|answer| answer.status == 200).map(Answer::json).collect();
    assert!(winners.len() <= 1, "{counted:?}");
    assert!(counted.contains_key("401 refresh_token_reused"), "{counted:?}");
    for winner in winners {
        for turn in 0..2 {
            refresh(turn, &winner["refresh_token"]).send().await.expect_problem(401, "invalid_refresh_token");
        }
    }
    service.stop().await;
}
