//! Every kind of write on one instance, and the next reads of another.

use serde_json::json;

use super::world::{A, B, World, Write};
use crate::harness::server::Site;
use crate::stories::on_both_stacks;

on_both_stacks!(
    the_next_read_of_another_instance_shows_every_kind_of_write,
    hundreds_of_writes_on_two_instances_are_each_seen_by_the_next_reads,
);

async fn the_next_read_of_another_instance_shows_every_kind_of_write(site: Site) {
    let mut world = World::open(&site, &site).await;
    let [jazz, opera, duo] = world.events();
    let [ada, bob, eve] = world.people();
    let writes = [
        Write::Create(json!({ "title": "Zebra jazz", "total_seats": 2 })),
        Write::Update(jazz, json!({ "title": "An evening of jazz" })),
        Write::Update(jazz, json!({ "description": "Late.\n\tAnd loud." })),
        Write::Update(jazz, json!({ "description": null })),
        Write::Update(jazz, json!({ "venue": "Cellar" })),
        Write::Update(jazz, json!({ "date": "2031-12-24T20:00:00Z" })),
        Write::Update(jazz, json!({ "total_seats": 7 })),
        Write::Update(jazz, json!({})),
        Write::Book(jazz, ada),
        Write::Book(opera, ada),
        Write::Cancel(jazz, ada),
        Write::Book(jazz, ada),
        // The event sells out and has a seat again: it leaves and enters the list of available events.
        Write::Book(duo, ada),
        Write::Book(duo, bob),
        Write::Book(duo, eve),
        Write::Cancel(duo, ada),
        Write::Book(duo, eve),
        Write::Update(duo, json!({ "total_seats": 1 })),
        Write::Update(duo, json!({ "total_seats": 3 })),
        Write::Update(duo, json!({ "total_seats": 2 })),
        Write::Change(ada, json!({ "name": "Countess Ada" })),
        Write::Change(ada, json!({ "email": "countess@example.com" })),
        Write::Update(
            opera,
            json!({ "title": "Aida", "venue": "Arena", "total_seats": 9, "date": "2032-01-01T00:00:00Z" }),
        ),
        Write::Delete(duo),
        Write::Book(duo, ada),
        Write::Delete(opera),
    ];
    for write in writes {
        for _ in 0..2 {
            world.assert_seen_by(B).await;
        }
        world.write(A, write).await;
        world.assert_seen_by(B).await;
        world.assert_seen_by(A).await;
    }
    world.close().await;
}

async fn hundreds_of_writes_on_two_instances_are_each_seen_by_the_next_reads(site: Site) {
    let mut world = World::open(&site, &site).await;
    for _ in 0..200 {
        world.happen().await;
    }
    world.assert_seen_by(A).await;
    world.assert_seen_by(B).await;
    world.close().await;
}
