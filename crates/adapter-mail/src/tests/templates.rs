use std::fs;

use domain::{MailKind, sample};
use tempfile::tempdir;

use super::{mail, options};
use crate::{Letters, MailOptions};

/// What is said of a folder with this one file, with the folder's name left out.
fn problem(name: &str, source: &str) -> String {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join(name), source).unwrap();
    let options = MailOptions { templates: Some(folder.path().to_owned()), ..options() };
    let told = Letters::new(&options, sample::clock(sample::NOW)).err().map(|error| error.to_string());
    told.unwrap_or_default().replace(&format!("{}/", folder.path().display()), "")
}

#[test]
fn a_file_replaces_the_template_of_its_name() {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("reminder.txt"), "Subject: Bald: {{ title }}\n\nHallo {{ name }}!\n").unwrap();
    fs::write(folder.path().join("README.md"), "Ours.").unwrap();
    let options = MailOptions { templates: Some(folder.path().to_owned()), ..options() };
    let letters = Letters::new(&options, sample::clock(sample::NOW)).unwrap();
    let raw = String::from_utf8(letters.write(&mail(MailKind::Reminder)).unwrap().formatted()).unwrap();
    assert!(raw.contains("Subject: Bald: Lieder & <Songs>\r\n") && raw.contains("Hallo Ada Lovelace!"), "{raw}");
    let raw = String::from_utf8(letters.write(&mail(MailKind::SeatConfirmed)).unwrap().formatted()).unwrap();
    assert!(raw.contains("Subject: Your seat for"), "{raw}");
}

#[test]
fn a_wrong_template_is_told_with_its_file_and_line() {
    for (name, source, expected) in [
        ("reminder.txt", "Subject: x\n\n{% if link %}\nx", "reminder.txt, line 4: syntax error"),
        (
            "reminder.txt",
            "Subject: x\n\n{{ titel }}",
            "reminder.txt, line 3: there is no variable titel; there are date",
        ),
        (
            "reminder.html",
            "{% if not title %}\n{{ place }}{% endif %}",
            "reminder.html, line 2: there is no variable place",
        ),
        ("layout.html", "<p>\n{{ title.name }}", "layout.html, line 2: undefined value"),
        ("reminder.html", "{{ description|upper|nothing }}", "reminder.html, line 1: unknown filter"),
        ("reminder.html", "\n{% include 'footer.html' %}", "reminder.html, line 2: template not found"),
        ("reminder.txt", "Hello {{ name }}", "reminder.txt, line 1: the first line must be the subject"),
        ("reminder.txt", "Subject: \nHello", "reminder.txt, line 1: the first line must be the subject"),
        ("remainder.txt", "Subject: x\n", "remainder.txt: there is no template of this name; there are layout.html"),
    ] {
        let told = problem(name, source);
        assert!(told.starts_with(expected), "{source:?}: {told}");
    }
}

#[test]
fn a_folder_that_is_not_there_is_told() {
    let options = MailOptions { templates: Some("/no/such/folder".into()), ..options() };
    let told = Letters::new(&options, sample::clock(sample::NOW)).err().map(|error| error.to_string()).unwrap();
    assert!(told.starts_with("/no/such/folder: "), "{told}");
}
