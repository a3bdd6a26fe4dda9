//! The cost of authentication for a request: the whole API in memory, open and protected.

#![expect(clippy::unwrap_used, reason = "a bench with an error must fail")]

use std::convert::Infallible;
use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use digest_auth::{AuthContext, HttpMethod};
use http_body_util::Full;
use hyper::Request;
use jiff::Timestamp;
use wwsim::clock::{Clock, Speed};
use wwsim::device::{Device, Identity, License, Setup};
use wwsim::fault::Engine;
use wwsim::journal::Journal;
use wwsim::surface::http::Api;

const PATH: &str = "/api/v1/actions/status?id=1";
const PASSWORD: &str = "a password of the usual kind";

fn api(firmware: &str, protected: bool) -> Arc<Api> {
    let clock = Clock::new(Timestamp::UNIX_EPOCH, Speed::Manual);
    let journal = Arc::new(Journal::new(clock.clone()));
    let engine = Arc::new(Engine::new(1, clock.clone(), Arc::clone(&journal), vec![]));
    let identity = Identity { id: "A842E39F8124".parse().unwrap(), license: License::Plus };
    let setup = Setup { firmware: firmware.parse().unwrap(), ..Setup::new(identity) };
    let device = Device::new(setup, clock.clone(), Arc::clone(&engine), journal);
    let set: Result<(), Infallible> = device.configure(|config| {
        config.settings.system.protection = protected;
        PASSWORD.clone_into(&mut config.settings.system.password);
        Ok(())
    });
    set.unwrap();
    Api::new(device, engine, clock, |_| {})
}

fn request(method: &str, authorization: Option<&str>, body: &[u8]) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri(PATH);
    if let Some(header) = authorization {
        request = request.header("authorization", header);
    }
    request.body(Full::new(Bytes::copy_from_slice(body))).unwrap()
}

fn auth(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let answer = |api: &Arc<Api>, request| runtime.block_on(api.answer(black_box(request)));
    let mut group = c.benchmark_group("auth");

    let open = api("2.0.2", false);
    group.bench_function("open", |b| {
        b.iter_batched(|| request("GET", None, b""), |it| answer(&open, it), BatchSize::SmallInput);
    });

    let basic = api("1.9.0", true);
    let header = "Basic OmEgcGFzc3dvcmQgb2YgdGhlIHVzdWFsIGtpbmQ=";
    assert_eq!(answer(&basic, request("GET", Some(header), b"")).status(), 404, "no such status");
    group.bench_function("basic", |b| {
        let make = || request("GET", Some(header), b"");
        b.iter_batched(make, |it| answer(&basic, it), BatchSize::SmallInput);
    });

    let digest = api("2.0.2", true);
    let challenge = answer(&digest, request("GET", None, b""));
    let (_, challenge) = challenge.headers().next().unwrap();
    let mut session = digest_auth::parse(challenge.to_str().unwrap()).unwrap();
    let body = [b'x'; 1024];
    for (name, password, method, body, status) in [
        ("digest", PASSWORD, HttpMethod::GET, None, 404),
        ("digest, wrong password", "wrong", HttpMethod::GET, None, 401),
        ("digest, auth-int over 1 KiB", PASSWORD, HttpMethod::POST, Some(body.as_slice()), 405),
    ] {
        let verb = method.to_string();
        let context = AuthContext::new_with_method("", password, PATH, body, method);
        let mut make = || {
            let header = session.respond(&context).unwrap().to_string();
            request(&verb, Some(&header), body.unwrap_or_default())
        };
        assert_eq!(answer(&digest, make()).status(), status, "{name}");
        group.bench_function(name, |b| {
            b.iter_batched(&mut make, |it| answer(&digest, it), BatchSize::SmallInput);
        });
    }
    let unreadable = "Digest username=\"\", nonce";
    group.bench_function("digest, unreadable", |b| {
        let make = || request("GET", Some(unreadable), b"");
        b.iter_batched(make, |it| answer(&digest, it), BatchSize::SmallInput);
    });
    group.finish();
}

criterion_group!(benches, auth);
criterion_main!(benches);
