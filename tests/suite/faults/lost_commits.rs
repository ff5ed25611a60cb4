//! Commits that are lost with a primary: nothing that depends on one is shown, confirmed or continued.

use std::time::Duration;

use serde_json::json;

use crate::harness::postgres::{PostgresServer, ask, execute};
use crate::harness::proxy::Proxy;
use crate::harness::server::{Instance, Person, Site};
use crate::harness::until;

/// A service whose database has a standby, and one address that leads to the present primary.
struct Pair {
    site: Site,
    standby: PostgresServer,
    address: Proxy,
}

impl Pair {
    async fn start() -> Self {
        let mut site = Site::breakable().await;
        let (address, url) = Proxy::on_the_way_to(&site.database_url()).await;
        let standby = site.postgres().standby().await;
        Self { site: site.with("DATABASE_URL", &url), standby, address }
    }

    /// From now on the primary's commits do not reach the standby.
    async fn begin_to_lose(&mut self) {
        self.standby.has_caught_up_with(self.site.postgres()).await;
        self.standby.cut_off().await;
    }

    /// Stops the primary at once and promotes the standby.
    async fn fail_over(&mut self) {
        self.site.postgres().stop_immediately();
        self.standby.promote().await;
        self.address.lead_to(&self.standby.address());
    }
}

async fn serves(instance: &Instance) {
    until("the instance is ready", async || instance.get("/health/ready").send().await.status == 200).await;
    until("it reads", async || instance.get("/api/events").send().await.status == 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_commit_is_neither_shown_nor_confirmed() {
    let mut pair = Pair::start().await;
    let (x, y) = (pair.site.start().await, pair.site.start().await);
    let admin = x.admin().await;
    let event = x.event(&admin, 10).await;
    let path = format!("/api/events/{event}");
    let [lost, stays, other] = &x.people(3).await[..] else { unreachable!() };
    x.book(event, stays).await.expect(201);
    pair.begin_to_lose().await;

    // Three changes of the event on the old timeline.
    let changed = x.put(&path, &json!({ "title": "Lost" })).by(&admin).send().await.expect(200);
    x.book(event, lost).await.expect(201);
    x.cancel(event, stays).await.expect(200);
    let seen = x.get(&path).send().await.expect(200);
    let (lost_tag, changed_tag) = (seen.header("etag").to_owned(), changed.header("etag").to_owned());
    assert_eq!(mine(&x, lost).await, ["confirmed"]);
    assert_eq!(mine(&x, stays).await, ["cancelled"]);
    assert_eq!((found(&x, "Lost").await, found(&x, "Kept").await), (1, 0));
    assert_eq!(seats_listed(&x).await, [9]);
    let mut watcher = x.watch(event).await;
    let told = watcher.until_available(9).await;

    pair.fail_over().await;
    serves(&y).await;
    // And three others on the new timeline.
    y.put(&path, &json!({ "title": "Kept" })).by(&admin).send().await.expect(200);
    y.book(event, other).await.expect(201);
    y.cancel(event, other).await.expect(200);
    let kept = y.get(&path).send().await.expect(200);
    assert_eq!((&kept.json()["title"], &kept.json()["available_seats"]), (&json!("Kept"), &json!(9)));
    y.book(event, other).await.expect(201);
    y.book(event, &y.new_user().await).await.expect(201);

    serves(&x).await;
    let anew = pair.site.start().await;
    for instance in [&x, &y, &anew] {
        let now = instance.get(&path).header("If-None-Match", &lost_tag).send().await.expect(200);
        assert_eq!((&now.json()["title"], &now.json()["available_seats"]), (&json!("Kept"), &json!(7)));
        assert_eq!((found(instance, "Lost").await, found(instance, "Kept").await), (0, 1));
        assert_eq!(seats_listed(instance).await, [7]);
        assert_eq!(mine(instance, lost).await, [""; 0]);
        assert_eq!(mine(instance, stays).await, ["confirmed"]);
        for tag in [&lost_tag, &changed_tag] {
            let change = instance.put(&path, &json!({ "title": "From the past" })).header("If-Match", tag);
            change.by(&admin).send().await.expect_problem(412, "precondition_failed");
        }
        let current = instance.put(&path, &json!({})).header("If-Match", now.header("etag")).by(&admin);
        assert_eq!(current.send().await.expect(200).header("etag"), now.header("etag"));
    }
    let now = watcher.until_available(7).await;
    assert!(now["version"].as_u64() > told["version"].as_u64(), "{now} after {told}");
    y.cancel(event, other).await.expect(200);
    watcher.until_available(8).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_was_lost_is_not_acknowledged_for_the_next_of_its_number() {
    let mut pair = Pair::start().await;
    let instance = pair.site.start().await;
    let admin = instance.admin().await;
    let (booked, cancelled) = (instance.event(&admin, 10).await, instance.event(&admin, 10).await);
    let [one, other] = &instance.people(2).await[..] else { unreachable!() };
    instance.book(cancelled, other).await.expect(201);
    pair.site.postgres().wait_for_standbys(true).await;
    pair.begin_to_lose().await;

    let (booking, cancellation, ()) = tokio::join!(
        async {
            let path = format!("/api/events/{booked}/register");
            instance.request(reqwest::Method::POST, &path).by(one).header("Idempotency-Key", "k").send().await
        },
        instance.cancel(cancelled, other),
        async {
            let primary = pair.site.postgres().url();
            let waiting = "SELECT CAST(COUNT(*) AS text) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
            until("a commit hangs", async || ask(&primary, waiting).await != "0").await;
            pair.fail_over().await;
            // The standby gives out the numbers of the lost transactions again at once.
            let standby = pair.standby.url();
            let number = "SELECT CAST(CAST(pg_current_xact_id() AS text) AS bigint)";
            execute(&standby, &[number; 50]).await;
        },
    );
    // One that was not taken before the loss may have been carried out after it. Then its row is there.
    for (answer, done, event, person, state) in
        [(booking, 201, booked, one, "confirmed"), (cancellation, 200, cancelled, other, "cancelled")]
    {
        let row = format!(
            "SELECT CAST(COUNT(*) AS text) FROM registrations
             WHERE event_id = {event} AND user_id = {} AND status = '{state}'",
            person.id
        );
        match answer.status {
            503 => {}
            status => assert!(status == done && ask(&pair.standby.url(), &row).await == "1", "{}", answer.text()),
        }
    }
    serves(&instance).await;
    // The bookings can be made now.
    let path = format!("/api/events/{booked}/register");
    let again = instance.request(reqwest::Method::POST, &path).by(one).header("Idempotency-Key", "k");
    again.send().await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_account_s_token_opens_no_account_of_the_same_number() {
    let mut pair = Pair::start().await;
    let instance = pair.site.start().await;
    let admin = instance.admin().await;
    let event = instance.event(&admin, 10).await;
    pair.begin_to_lose().await;
    let lost = instance.new_user().await;
    assert_eq!(me(&instance, &lost).await, 200);
    pair.fail_over().await;
    serves(&instance).await;

    // A primary logs the numbers of a sequence in advance, so the next account would not get the same number.
    let next = format!("SELECT setval(pg_get_serial_sequence('users', 'id'), {}, false)", lost.id);
    execute(&pair.standby.url(), &[&next]).await;
    pair.site.clock.advance_secs(1);
    let other = instance.new_user().await;
    assert_eq!((other.id, me(&instance, &other).await), (lost.id, 200));
    assert_eq!(me(&instance, &lost).await, 401);
    instance.book(event, &lost).await.expect_problem(401, "unauthenticated");
    instance.refresh(&lost.refresh_token).await.expect_problem(401, "invalid_refresh_token");
    let with_key = instance.request(reqwest::Method::POST, &format!("/api/events/{event}/register"));
    with_key.by(&other).header("Idempotency-Key", "k").send().await.expect(201);
    let with_key = instance.request(reqwest::Method::POST, &format!("/api/events/{event}/register"));
    with_key.by(&lost).header("Idempotency-Key", "k").send().await.expect_problem(401, "unauthenticated");
    instance.cancel(event, &lost).await.expect_problem(401, "unauthenticated");
    assert_eq!(mine(&instance, &other).await, ["confirmed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_at_the_old_primary_misleads_no_watcher() {
    let mut pair = Pair::start().await;
    let old = pair.site.start().await;
    let admin = old.admin().await;
    let event = old.event(&admin, 100).await;
    let people = old.people(5).await;
    pair.begin_to_lose().await;
    let mut left_behind = old.watch(event).await;
    left_behind.until_available(100).await;

    // Both take bookings now. The instance at the old primary publishes its own through Redis.
    pair.standby.promote().await;
    pair.site = pair.site.with("DATABASE_URL", &pair.standby.url());
    let new = pair.site.start().await;
    let mut watcher = new.watch(event).await;
    watcher.until_available(100).await;
    new.book(event, &people[0]).await.expect(201);
    let present = watcher.until_available(99).await;
    for person in &people[1..4] {
        old.book(event, person).await;
    }
    new.book(event, &people[4]).await.expect(201);
    let next = watcher.seats().await;
    assert_eq!(next["available_seats"], 98, "{next} after {present}");
    assert!(watcher.is_quiet_for(Duration::from_secs(2)).await, "a watcher got seats of the old primary");
    // A watcher at the old instance gets the new primary's seats, and from then on no others.
    while left_behind.seats().await["version"] != next["version"] {}
    assert!(left_behind.is_quiet_for(Duration::from_secs(2)).await, "a watcher got seats of the old primary again");
}

/// The states of a user's registrations.
async fn mine(instance: &Instance, person: &Person) -> Vec<String> {
    let list = instance.get("/api/users/me/registrations").by(person).send().await.expect(200).json();
    list.as_array().unwrap().iter().map(|one| one["status"].as_str().unwrap().to_owned()).collect()
}

/// How many titles contain this text.
async fn found(instance: &Instance, text: &str) -> u64 {
    let list = instance.get(&format!("/api/events?search={text}")).send().await.expect(200).json();
    list["total"].as_u64().unwrap()
}

/// How many seats are free, by event.
async fn seats_listed(instance: &Instance) -> Vec<u64> {
    let list = instance.get("/api/events").send().await.expect(200).json();
    list["data"].as_array().unwrap().iter().map(|event| event["available_seats"].as_u64().unwrap()).collect()
}

async fn me(instance: &Instance, person: &Person) -> u16 {
    instance.get("/api/users/me").by(person).send().await.status
}
