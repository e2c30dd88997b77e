//! Answers that nobody thought of.

use std::sync::{Arc, Mutex};

use fastrand::Rng;
use proptest::{prelude::*, test_runner::TestRunner};
use serde_json::json;

use crate::support::{SECRET_KEY, converse, every_text, hasty, listen};

const CASES: u32 = 5_000;

#[test]
fn no_answer_makes_the_client_panic_or_give_the_key_away() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let answer = Arc::new(Mutex::new(Vec::new()));
    let said = Arc::clone(&answer);
    let address = runtime.block_on(listen(move |stream| {
        let said = Arc::clone(&said);
        converse(stream, move || said.lock().unwrap().clone())
    }));
    let manager = hasty(&format!("http://{address}"));
    let config = ProptestConfig {
        cases: CASES,
        failure_persistence: None,
        ..Default::default()
    };
    TestRunner::new(config)
        .run(&any::<u64>().prop_map(any_answer), |bytes| {
            *answer.lock().unwrap() = bytes;
            let errors = runtime.block_on(async {
                let check = manager.check_for_updates().await.err();
                let apply = manager.apply_all_pending().await.err();
                [check, apply.map(|failed| failed.error)]
            });
            for error in errors.into_iter().flatten() {
                prop_assert!(!every_text(&error).contains(SECRET_KEY));
                prop_assert!(!error.to_string().contains(char::is_control));
            }
            Ok(())
        })
        .unwrap();
}

/// A whole answer out of a seed: any status, some headers with any text, and a body that may be
/// PostgREST's. The key is in it here and there.
fn any_answer(seed: u64) -> Vec<u8> {
    let rng = &mut Rng::with_seed(seed);
    let body = match rng.u8(..4) {
        0 => bytes(rng, 64),
        1 => b"[]".to_vec(),
        2 => (0..rng.usize(..20))
            .map(|_| one_of(rng, b"[]{}\",:01ae \\"))
            .collect(),
        _ => {
            let code = [text(rng), one_of(rng, &CODES).to_owned()];
            let message = text(rng) + one_of(rng, &["", SECRET_KEY]);
            json!({"code": one_of(rng, &code), "message": message})
                .to_string()
                .into_bytes()
        }
    };
    let status = match rng.bool() {
        true => rng.u16(200..1000),
        false => one_of(rng, &[200, 302, 401, 404, 500, 503]),
    };
    let mut answer = format!(
        "HTTP/1.1 {status} Any\r\nContent-Length: {}\r\n",
        body.len()
    )
    .into_bytes();
    for _ in 0..rng.usize(..4) {
        answer.extend(one_of(rng, &HEADERS).bytes());
        answer.extend(
            match rng.u8(..4) {
                0 => SECRET_KEY.to_owned(),
                1 => rng.u64(..).to_string(),
                2 => format!("0-9/{}", rng.u64(..)),
                _ => text(rng),
            }
            .bytes(),
        );
        answer.extend(b"\r\n");
    }
    [&answer, b"\r\n".as_slice(), &body].concat()
}

const CODES: [&str; 8] = [
    "PGRST001", "PGRST202", "PGRST205", "42P01", "42501", "57014", "08006", "XX000",
];

const HEADERS: [&str; 7] = [
    "Retry-After: ",
    "Content-Range: ",
    "Location: ",
    "Server: postgrest/",
    "Server: ",
    "Content-Type: ",
    "X-Any: ",
];

/// Any text that fits into a header.
fn text(rng: &mut Rng) -> String {
    let text = String::from_utf8_lossy(&bytes(rng, 20)).into_owned();
    text.replace(char::is_control, " ")
}

fn bytes(rng: &mut Rng, longest: usize) -> Vec<u8> {
    (0..rng.usize(..longest)).map(|_| rng.u8(..)).collect()
}

fn one_of<T: Clone>(rng: &mut Rng, choices: &[T]) -> T {
    choices[rng.usize(..choices.len())].clone()
}
