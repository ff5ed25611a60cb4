use domain::{Description, Event, EventTitle, Timeline, Version, sample};
use expect_test::expect;
use icalendar::{Calendar, Component as _};

use crate::{EventCalendar, PublicUrl, Sender, Standing};

fn titled(title: &str) -> Event {
    Event { title: EventTitle::stored(title), ..sample::event(12) }
}

fn unfolded(file: &str) -> String {
    file.replace("\r\n ", "")
}

#[test]
fn a_file_says_what_is_known_of_the_event() {
    let calendar = EventCalendar::new("example.com")
        .with_links(PublicUrl::parse("https://tickets.example.com").ok())
        .with_organizer(Sender::parse("Box Office <tickets@example.com>").unwrap());
    let event = Event {
        description: Description::parse("Songs, duets; and \\more\\.\r\nCome early!").ok(),
        ..titled("Concert")
    };
    let file = calendar.file(&event, Standing::Confirmed);
    assert_eq!(file.matches('\n').count(), file.matches("\r\n").count());
    expect![[r#"
        BEGIN:VCALENDAR
        VERSION:2.0
        PRODID:-//boxoffice//boxoffice//EN
        CALSCALE:GREGORIAN
        METHOD:PUBLISH
        BEGIN:VEVENT
        UID:event-12@example.com
        DTSTAMP:20300115T120000Z
        SEQUENCE:1
        DTSTART:20300501T193000Z
        SUMMARY:Concert
        LOCATION:Opera
        DESCRIPTION:Songs\, duets\; and \\more\\.\nCome early!
        URL:https://tickets.example.com/?event=12
        ORGANIZER;CN="Box Office":mailto:tickets@example.com
        STATUS:CONFIRMED
        END:VEVENT
        END:VCALENDAR
    "#]]
    .assert_eq(&file.replace("\r\n", "\n"));
}

#[test]
fn what_does_not_take_place_is_cancelled() {
    let file = EventCalendar::new("example.com").file(&titled("Concert"), Standing::Cancelled);
    for line in ["METHOD:CANCEL\r\n", "STATUS:CANCELLED\r\n", "UID:event-12@example.com\r\n"] {
        assert!(file.contains(line), "{line}");
    }
    assert!(!file.contains("DTEND") && !file.contains("DURATION") && !file.contains("ORGANIZER"));
}

#[test]
fn any_title_is_read_back_as_it_was_from_lines_of_75_octets() {
    let calendar = EventCalendar::new("example.com");
    for title in [
        "x".repeat(200),
        "é".repeat(200),
        "🎉".repeat(200),
        format!("{}{}x", "🎉".repeat(20), " ".repeat(170)),
        format!("a{}", "老虎, und; \\ ".repeat(19)),
        "tab\there, comma; \\n is no break".to_owned(),
        "END:VEVENT\nBEGIN:VALARM\r\nX:\ry".to_owned(),
    ] {
        let file = calendar.file(&titled(&title), Standing::Confirmed);
        assert!(file.split("\r\n").all(|line| line.len() <= 75 && !line.contains(['\r', '\n'])), "{file}");
        let read: Calendar = unfolded(&file).parse().unwrap();
        let event = read.events().next().unwrap();
        let expected = title.replace("\r\n", "\n").replace('\r', "\n");
        assert_eq!(event.get_summary(), Some(expected.trim()));
        assert_eq!((read.events().count(), event.get_uid()), (1, Some("event-12@example.com")));
    }
}

#[test]
fn a_sequence_grows_and_is_a_number_of_32_bits() {
    let calendar = EventCalendar::new("example.com");
    let sequence = |timeline, count| -> i64 {
        let version = Version::on(Timeline::new(timeline).unwrap(), count).unwrap();
        let file = calendar.file(&Event { version, ..sample::event(1) }, Standing::Confirmed);
        file.lines().find_map(|line| line.strip_prefix("SEQUENCE:")).unwrap().parse().unwrap()
    };
    assert!(sequence(1, 7) < sequence(1, 8) && sequence(1, 8) < sequence(2, 5) && sequence(2, 5) < sequence(2, 6));
    assert!(sequence(8_191, 1_000_000) < i64::from(i32::MAX));
    assert_eq!(sequence(8_192, (1 << 40) - 1), i64::from(i32::MAX));
}
