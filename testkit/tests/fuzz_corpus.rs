//! The fuzz targets on stable Rust: every corpus file, and some thousand seeded mutations of valid inputs.

use std::path::PathBuf;

use testkit::fuzzing::{TARGETS, examples};
use testkit::sim::random::Random;

fn corpus(target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target)
}

fn mutate(random: &mut Random, input: &mut Vec<u8>) {
    let special = [0, 1, 0x7f, 0x80, 0xff, b'\n', b'='];
    for _ in 0..=random.below(4) {
        if input.is_empty() {
            return;
        }
        let at = random.below(input.len() as u64) as usize;
        match random.below(7) {
            0 => input[at] ^= 1 << random.below(8),
            1 => input[at] = random.next_u64() as u8,
            2 => input[at] = special[random.below(special.len() as u64) as usize],
            3 => input.truncate(at),
            4 => drop(input.remove(at)),
            5 => input.insert(at, random.next_u64() as u8),
            _ => {
                let end = (at + 1 + random.below(12) as usize).min(input.len());
                let piece = input[at..end].to_vec();
                let to = random.below(input.len() as u64) as usize;
                input.splice(to..to, piece);
            }
        }
    }
}

#[test]
fn every_corpus_file_is_survived() {
    for (name, target) in TARGETS {
        let files =
            std::fs::read_dir(corpus(name)).unwrap_or_else(|error| panic!("corpus of {name}: {error}"));
        let files: Vec<PathBuf> = files.map(|file| file.expect("a file").path()).collect();
        assert!(!files.is_empty(), "{name} has a corpus");
        for file in files {
            target(&std::fs::read(&file).expect("a readable file"));
        }
    }
}

/// With `WRITE_CORPUS=1`, the examples become the files they are compared with.
#[test]
fn the_corpus_has_every_example() {
    for (name, _) in TARGETS {
        for (example, number) in examples(name).into_iter().zip(0..) {
            let file = corpus(name).join(format!("example-{number:02}"));
            if std::env::var_os("WRITE_CORPUS").is_some() {
                std::fs::create_dir_all(corpus(name)).expect("a directory");
                std::fs::write(&file, &example).expect("a file");
            }
            assert!(std::fs::read(&file).is_ok_and(|found| found == example), "{} is stale", file.display());
        }
    }
}

#[test]
fn mutations_of_valid_inputs_are_survived() {
    for (name, target) in TARGETS {
        let examples = examples(name);
        assert!(!examples.is_empty(), "{name} has examples");
        for seed in 0..1500 {
            let mut random = Random::new(seed);
            let mut input = examples[random.below(examples.len() as u64) as usize].clone();
            mutate(&mut random, &mut input);
            let survived = std::panic::catch_unwind(|| target(&input));
            assert!(survived.is_ok(), "{name}, mutation {seed}: {input:?}");
        }
    }
}
