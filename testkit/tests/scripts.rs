//! Golden scripts: every story in `testkit/scripts` comes true.

use std::fs;
use std::path::Path;

#[test]
fn stories_about_ensembles_come_true() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/zab");
    let mut stories: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    stories.sort();
    assert!(stories.len() >= 10);
    let mut wrong = Vec::new();
    for story in stories {
        let text = fs::read_to_string(&story).unwrap();
        if let Err(error) = testkit::script::tell(&text) {
            wrong.push(format!("{}:\n{error}", story.file_name().unwrap_or_default().display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// A story that is wrong says where, and a runner that believes everything would say nothing.
#[test]
fn a_wrong_story_is_not_believed() {
    for (text, line) in [
        ("members 1 2 3\nstart all\nuntil 1 leads epoch 7", 3),
        ("members 1\nstart 1\nuntil 1 leads\nask 1\nexpect 1 agreed", 5),
        ("members 1\nstart 1\n\nuntil 1 dances", 4),
        ("members 1\nstart 2", 2),
        ("members 1\nstart 1\nmembers 1 2", 3),
    ] {
        assert_eq!(testkit::script::tell(text).map_err(|error| error.line), Err(line), "{text}");
    }
}
