//! Authentication over sockets: challenges, and the credentials that are accepted. The client is the
//! `digest_auth` crate.

use std::convert::Infallible;
use std::time::Duration;

use digest_auth::{AuthContext, AuthorizationHeader, HttpMethod, WwwAuthenticateHeader};
use wwsim::device::{AccessPolicy, DigestMode, DigestPolicy, WhenFull};
use wwsim::fault::{ApiEffect, Trigger};

use crate::support::SECOND;
use crate::support::device::{
    Setup, TestDevice, body, error, header, request, request_with, status,
};

const ACTIONS: &str = "/api/v1/actions";
const PASSWORD: &str = "geheim: \"grün\"";

async fn protected(setup: Setup) -> TestDevice {
    let fixture = TestDevice::start(setup).await;
    set(&fixture, true, PASSWORD);
    fixture
}

async fn strict() -> TestDevice {
    with_digest(DigestPolicy { mode: DigestMode::Strict, ..DigestPolicy::default() }).await
}

async fn with_digest(digest: DigestPolicy) -> TestDevice {
    let access_policy = AccessPolicy { digest, ..AccessPolicy::default() };
    protected(Setup { access_policy, ..Setup::default() }).await
}

fn set(fixture: &TestDevice, protection: bool, password: &str) {
    let changed: Result<(), Infallible> = fixture.device.configure(|config| {
        config.settings.system.protection = protection;
        password.clone_into(&mut config.settings.system.password);
        Ok(())
    });
    changed.unwrap();
}

fn challenge(response: &str) -> &str {
    header(response, "WWW-Authenticate").unwrap()
}

fn is_stale(response: &str) -> bool {
    assert_eq!(status(response), 401, "{response}");
    challenge(response).ends_with(", stale=true")
}

/// The state of a client between its requests.
struct Session(WwwAuthenticateHeader);

impl Session {
    async fn begin(fixture: &TestDevice) -> Self {
        let challenge = fixture.get(ACTIONS).await;
        Self(digest_auth::parse(self::challenge(&challenge)).unwrap())
    }

    fn header(&mut self, context: &AuthContext<'_>) -> AuthorizationHeader {
        self.0.respond(context).unwrap()
    }

    fn get(&mut self, path: &str) -> AuthorizationHeader {
        self.header(&AuthContext::new("", PASSWORD, path))
    }
}

async fn get(fixture: &TestDevice, path: &str, authorization: &str) -> String {
    fixture.exchange_one(&request_with("GET", path, &[("Authorization", authorization)], "")).await
}

// Ruling: ACCESS-8.
#[tokio::test]
async fn a_request_without_credentials_gets_an_rfc_7616_challenge() {
    let fixture = protected(Setup::default()).await;
    let answer = fixture.get(ACTIONS).await;
    assert_eq!((status(&answer), &*error(&answer)), (401, "unauthorized"));
    let challenge = challenge(&answer);
    let (before, rest) = challenge.split_once(", nonce=\"").unwrap();
    assert_eq!(
        before,
        "Digest realm=\"whatwatt-9F8124\", qop=\"auth,auth-int\", algorithm=MD5-sess"
    );
    let (nonce, opaque) = rest.split_once("\", opaque=\"").unwrap();
    assert!(nonce.len() >= 32 && opaque.len() == 33 && opaque.ends_with('"'), "{challenge}");
    let lines: Vec<&str> = answer.lines().map(|line| line.split(':').next().unwrap()).collect();
    assert_eq!(
        lines[1..6],
        [
            "Content-Type",
            "Content-Length",
            "WWW-Authenticate",
            "X-Content-Type-Options",
            "Cache-Control"
        ]
    );
    let again = fixture.get(ACTIONS).await;
    assert_ne!(self::challenge(&again), challenge, "each nonce is issued once");
}

#[tokio::test]
async fn a_nonce_can_be_used_again_with_a_higher_count() {
    for fixture in [protected(Setup::default()).await, strict().await] {
        let mut session = Session::begin(&fixture).await;
        let mut context = AuthContext::new("", PASSWORD, ACTIONS);
        context.set_custom_cnonce("0a4f113b");
        for count in 1..=3 {
            let header = session.header(&context);
            assert_eq!(header.nc, count);
            assert_eq!(status(&get(&fixture, ACTIONS, &header.to_string()).await), 200);
        }
    }
}

#[tokio::test]
async fn protection_takes_effect_at_the_next_request() {
    let fixture = TestDevice::start(Setup::default()).await;
    let mut client = fixture.connect().await;
    let ask = request("GET", ACTIONS, "");
    for (protection, password, expected) in
        [(true, "", 200), (false, "x", 200), (true, "x", 401), (false, "x", 200)]
    {
        set(&fixture, protection, password);
        client.send(&ask).await;
        assert_eq!(status(&client.response().await), expected, "{protection} {password}");
    }
}

// Ruling: ACCESS-3.
#[tokio::test]
async fn a_changed_password_or_host_name_ends_a_session() {
    let fixture = protected(Setup::default()).await;
    let mut session = Session::begin(&fixture).await;
    assert_eq!(status(&get(&fixture, ACTIONS, &session.get(ACTIONS).to_string()).await), 200);
    set(&fixture, true, "another");
    assert!(!is_stale(&get(&fixture, ACTIONS, &session.get(ACTIONS).to_string()).await));

    set(&fixture, true, PASSWORD);
    let renamed: Result<(), Infallible> = fixture.device.configure(|config| {
        config.settings.system.host_name = "meter_1".to_owned();
        Ok(())
    });
    renamed.unwrap();
    let answer = get(&fixture, ACTIONS, &session.get(ACTIONS).to_string()).await;
    assert!(challenge(&answer).starts_with("Digest realm=\"meter_1\", "), "{answer}");
    let mut session = Session::begin(&fixture).await;
    assert_eq!(status(&get(&fixture, ACTIONS, &session.get(ACTIONS).to_string()).await), 200);
}

#[tokio::test]
async fn auth_int_protects_the_body() {
    let fixture = protected(Setup::default()).await;
    let mut session = Session::begin(&fixture).await;
    let definition = r#"{"actions":[]}"#;
    let context =
        |body| AuthContext::new_with_method("", PASSWORD, ACTIONS, Some(body), HttpMethod::POST);
    let good = session.header(&context(definition.as_bytes())).to_string();
    assert!(good.contains("qop=auth-int"), "{good}");
    let post = |header: String, body: &'static str| {
        request_with("POST", ACTIONS, &[("Authorization", &header)], body)
    };
    assert_eq!(status(&fixture.exchange_one(&post(good, definition)).await), 200);

    let other = session.header(&context(definition.as_bytes())).to_string();
    let answer = fixture.exchange_one(&post(other, r#"{"actions":{}}"#)).await;
    assert!(!is_stale(&answer), "the body differs from the signed one");
    // A request without a body has an empty one.
    let empty = session.header(&context(b"")).to_string();
    assert_eq!(status(&fixture.exchange_one(&post(empty, "")).await), 400);
}

// Ruling: ACCESS-13.
#[tokio::test]
async fn only_authenticated_clients_learn_the_body_limit() {
    let fixture = protected(Setup::default()).await;
    let mut session = Session::begin(&fixture).await;
    let signed = |session: &mut Session, password: &'static str, body: &str| {
        let context = AuthContext::new_with_method(
            "",
            password,
            ACTIONS,
            Some(body.as_bytes()),
            HttpMethod::POST,
        );
        let header = session.header(&context).to_string();
        request_with("POST", ACTIONS, &[("Authorization", &header)], body)
    };
    let large = "x".repeat(8192);
    let answer = fixture.exchange_one(&signed(&mut session, PASSWORD, &large)).await;
    assert_eq!((status(&answer), &*error(&answer)), (413, "payload_too_large"));
    assert!(!is_stale(&fixture.exchange_one(&signed(&mut session, "wrong", &large)).await));
    assert_eq!(status(&fixture.post(ACTIONS, &large).await), 401, "no credentials");

    // A body of this size is not read to check its hash.
    let mut client = fixture.connect().await;
    client.send(&signed(&mut session, PASSWORD, &"x".repeat(64 * 1024 + 1))).await;
    let answer = client.read_to_end().await.unwrap();
    assert_eq!((status(&answer), header(&answer, "Connection")), (401, Some("close")));

    let mut session = Session::begin(&fixture).await;
    session.0.qop = Some(vec![digest_auth::Qop::AUTH]);
    let answer = fixture.exchange_one(&signed(&mut session, PASSWORD, &large)).await;
    assert_eq!(status(&answer), 413, "with qop=auth only the size is wrong");
}

#[tokio::test]
async fn a_malformed_signed_body_is_refused() {
    let fixture = protected(Setup::default()).await;
    let mut session = Session::begin(&fixture).await;
    let context = AuthContext::new_with_method(
        "",
        PASSWORD,
        ACTIONS,
        Some(b"{}".as_slice()),
        HttpMethod::POST,
    );
    let header = session.header(&context).to_string();
    let mut client = fixture.connect().await;
    client
        .send(&format!(
            "POST {ACTIONS} HTTP/1.1\r\nHost: x\r\nAuthorization: {header}\r\n\
             Transfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\nnonsense\r\n"
        ))
        .await;
    let answer = client.read_to_end().await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    assert!(!answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(fixture.device.definition().is_some_and(|definition| !definition.actions().is_empty()));
}

// Ruling: ACCESS-8, ACCESS-12.
#[tokio::test]
async fn wrong_credentials_are_refused_without_a_reason() {
    let fixture = protected(Setup::default()).await;
    let mut session = Session::begin(&fixture).await;
    let wrong_password = session.header(&AuthContext::new("", "wrong", ACTIONS)).to_string();
    let wrong_user = session.header(&AuthContext::new("admin", PASSWORD, ACTIONS)).to_string();
    let wrong_uri = session.get("/api/v1/system").to_string();
    let right = session.get(ACTIONS);
    let claimed_user = right.to_string().replace("username=\"\"", "username=\"admin\"");
    let wrong_realm = right.to_string().replace("realm=\"whatwatt-", "realm=\"whatwatt_");
    let sha = right.to_string().replace("MD5-sess", "SHA-256-sess");
    let no_proof = right.to_string().replace("response=", "x-response=");
    let twice = format!("{right}, nc=00000009");
    let hashed = format!("{right}, userhash=true");
    let mut bodies = Vec::new();
    for header in [
        &*wrong_password,
        &wrong_user,
        &wrong_uri,
        &claimed_user,
        &wrong_realm,
        &sha,
        &no_proof,
        &twice,
        &hashed,
        "Digest",
        "Digest ",
        "Digest username",
        "Digest username=\"",
        "Basic OmdlaGVpbQ==",
        "Bearer token",
        "",
    ] {
        let answer = get(&fixture, ACTIONS, header).await;
        assert!(!is_stale(&answer), "{header}: {answer}");
        bodies.push(body(&answer).to_owned());
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    let right = right.to_string();
    let two =
        request_with("GET", ACTIONS, &[("Authorization", &right), ("Authorization", &right)], "");
    assert!(!is_stale(&fixture.exchange_one(&two).await));
    assert_eq!(
        status(&get(&fixture, ACTIONS, &right).await),
        200,
        "the refused requests did not use the count"
    );
}

// Ruling: ACCESS-9, ACCESS-10.
#[tokio::test]
async fn a_count_is_valid_once_and_may_arrive_out_of_order() {
    let fixture = protected(Setup::default()).await;
    let mut session = Session::begin(&fixture).await;
    let headers: Vec<String> = (0..4).map(|_| session.get(ACTIONS).to_string()).collect();
    for (place, stale) in
        [(2, false), (0, false), (3, false), (3, true), (0, true), (1, false), (2, true)]
    {
        let answer = get(&fixture, ACTIONS, &headers[place]).await;
        assert_eq!(status(&answer), if stale { 401 } else { 200 }, "count {}", place + 1);
        if stale {
            assert!(is_stale(&answer));
        }
    }
    // The same request succeeds with the new challenge.
    let answer = get(&fixture, ACTIONS, &headers[0]).await;
    let mut session = Session(digest_auth::parse(challenge(&answer)).unwrap());
    assert_eq!(status(&get(&fixture, ACTIONS, &session.get(ACTIONS).to_string()).await), 200);
}

// Ruling: ACCESS-9.
#[tokio::test]
async fn a_foreign_nonce_or_opaque_is_stale_if_the_password_is_right() {
    let (fixture, other) = (protected(Setup::default()).await, protected(Setup::default()).await);
    let mut foreign = Session::begin(&other).await;
    let header = foreign.get(ACTIONS).to_string();
    assert!(is_stale(&get(&fixture, ACTIONS, &header).await));
    let wrong = foreign.header(&AuthContext::new("", "wrong", ACTIONS)).to_string();
    assert!(!is_stale(&get(&fixture, ACTIONS, &wrong).await));

    let mut session = Session::begin(&fixture).await;
    session.0.opaque = Some("0123".to_owned());
    assert!(is_stale(&get(&fixture, ACTIONS, &session.get(ACTIONS).to_string()).await));
}

// Ruling: ACCESS-9.
#[tokio::test]
async fn a_nonce_is_good_for_its_life_on_the_scenarios_clock() {
    let short = DigestPolicy { nonce_life: 30 * SECOND, ..DigestPolicy::default() };
    for (policy, life) in [(DigestPolicy::default(), 300 * SECOND), (short, 30 * SECOND)] {
        let fixture = with_digest(policy).await;
        let mut session = Session::begin(&fixture).await;
        let mut get = async || get(&fixture, ACTIONS, &session.get(ACTIONS).to_string()).await;
        let instant = Duration::from_nanos(1);
        fixture.clock.advance(life.checked_sub(instant).unwrap()).await.unwrap();
        assert_eq!(status(&get().await), 200);
        fixture.clock.advance(instant).await.unwrap();
        assert!(is_stale(&get().await));
    }
}

/// Returns a device that remembers `nonces` nonces for a minute.
async fn with_few_nonces(nonces: usize, when_full: WhenFull) -> TestDevice {
    let nonce_life = Duration::from_mins(1);
    with_digest(DigestPolicy { nonces, nonce_life, when_full, ..DigestPolicy::default() }).await
}

// Ruling: ACCESS-10.
#[tokio::test]
async fn one_nonce_too_many_makes_the_oldest_expire() {
    let fixture = with_few_nonces(2, WhenFull::Oldest).await;
    let mut sessions = Vec::new();
    for _ in 0..3 {
        let mut session = Session::begin(&fixture).await;
        let answer = get(&fixture, ACTIONS, &session.get(ACTIONS).to_string()).await;
        assert_eq!(status(&answer), 200);
        sessions.push(session);
    }
    for (session, expected) in sessions.iter_mut().zip([401, 200, 200]).rev() {
        let answer = get(&fixture, ACTIONS, &session.get(ACTIONS).to_string()).await;
        assert_eq!(status(&answer), expected);
        assert!(expected == 200 || is_stale(&answer));
    }
}

// Ruling: ACCESS-14.
#[tokio::test]
async fn a_device_without_a_free_nonce_answers_429_until_one_expires() {
    let fixture = with_few_nonces(2, WhenFull::Refuse).await;
    let mut first = Session::begin(&fixture).await;
    fixture.clock.advance(SECOND).await.unwrap();
    let _second = Session::begin(&fixture).await;
    fixture.clock.advance(Duration::from_millis(500)).await.unwrap();
    let refused = fixture.get(ACTIONS).await;
    assert_eq!((status(&refused), &*error(&refused)), (429, "too_many_requests"));
    assert_eq!(header(&refused, "Retry-After"), Some("59"), "58.5 s, rounded up");
    assert_eq!(header(&refused, "WWW-Authenticate"), None);
    let wrong = first.header(&AuthContext::new("", "wrong", ACTIONS)).to_string();
    assert_eq!(status(&get(&fixture, ACTIONS, &wrong).await), 429, "it would need a new challenge");
    let answer = get(&fixture, ACTIONS, &first.get(ACTIONS).to_string()).await;
    assert_eq!(status(&answer), 200, "a nonce in use stays good");
    fixture.clock.advance(59 * SECOND).await.unwrap();
    assert_eq!(status(&fixture.get(ACTIONS).await), 401, "the first has made room");
    assert_eq!(status(&fixture.get(ACTIONS).await), 429);
}

// Ruling: FAULT-8.
#[tokio::test]
async fn a_rule_makes_the_nonce_of_a_request_stale() {
    for policy in [
        DigestPolicy::default(),
        DigestPolicy { nonces: 1, when_full: WhenFull::Refuse, ..DigestPolicy::default() },
    ] {
        let fixture = with_digest(policy).await;
        let mut session = Session::begin(&fixture).await;
        let wrong = session.header(&AuthContext::new("", "wrong", ACTIONS)).to_string();
        fixture.add_fault(ApiEffect::StaleNonce, Trigger { nth: vec![2], ..Trigger::default() });
        assert_eq!(status(&get(&fixture, ACTIONS, &session.get(ACTIONS).to_string()).await), 200);
        let answer = get(&fixture, ACTIONS, &session.get(ACTIONS).to_string()).await;
        assert!(is_stale(&answer));
        let again = get(&fixture, ACTIONS, &session.get(ACTIONS).to_string()).await;
        if policy.when_full == WhenFull::Oldest {
            assert!(is_stale(&again), "the nonce has expired for good");
        }
        let mut fresh = Session(digest_auth::parse(challenge(&answer)).unwrap());
        assert_eq!(status(&get(&fixture, ACTIONS, &fresh.get(ACTIONS).to_string()).await), 200);
        if policy.when_full == WhenFull::Oldest {
            assert!(!is_stale(&get(&fixture, ACTIONS, &wrong).await), "a wrong password");
        }
    }
}

// Ruling: FAULT-8.
#[tokio::test]
async fn a_stale_nonce_needs_a_nonce() {
    let fixture = protected(Setup::default()).await;
    let first = Trigger { first: Some(1), ..Trigger::default() };
    fixture.add_fault(ApiEffect::StaleNonce, first);
    assert!(
        !is_stale(&fixture.get(ACTIONS).await),
        "without credentials, which do not use the rule up"
    );
    let mut session = Session::begin(&fixture).await;
    let put = async |session: &mut Session| {
        let (path, body) = ("/api/v1/settings", r#"{"system":{"name":"cellar"}}"#);
        let method = HttpMethod::PUT;
        let context =
            AuthContext::new_with_method("", PASSWORD, path, Some(body.as_bytes()), method);
        let authorization = session.header(&context).to_string();
        let request = request_with("PUT", path, &[("Authorization", &authorization)], body);
        fixture.exchange_one(&request).await
    };
    assert!(is_stale(&put(&mut session).await), "with auth-int");
    assert_ne!(fixture.device.view().config.settings.system.name, "cellar", "no effect");
    let old = protected(Setup { firmware: "1.9.0", ..Setup::default() }).await;
    for open in [TestDevice::start(Setup::default()).await, old] {
        open.add_fault(ApiEffect::StaleNonce, Trigger::default());
        set(&open, false, "");
        assert_eq!(status(&open.get(ACTIONS).await), 200, "no protection");
    }
}

/// Returns headers with the known deviations of client libraries from the RFC.
fn variants(session: &mut Session) -> Vec<(&'static str, String)> {
    let mut next = |name: &'static str, change: &dyn Fn(String) -> String| {
        (name, change(session.get(ACTIONS).to_string()))
    };
    let reversed = |header: String| {
        let list = header.strip_prefix("Digest ").unwrap().to_owned();
        let mut parts: Vec<&str> = list.split(", ").collect();
        parts.reverse();
        format!("Digest {}", parts.join(", "))
    };
    vec![
        next("quoted qop", &|header| header.replace("qop=auth", "qop=\"auth\"")),
        next("quoted algorithm", &|header| {
            header.replace("algorithm=MD5-sess", "algorithm=\"MD5-sess\"")
        }),
        next("algorithm in another case", &|header| header.replace("MD5-sess", "MD5-SESS")),
        next("quoted count", &|header| {
            let (before, rest) = header.split_once("nc=").unwrap();
            format!("{before}nc=\"{}\"{}", &rest[..8], &rest[8..])
        }),
        next("no algorithm", &|header| header.replace(", algorithm=MD5-sess", "")),
        next("no opaque", &|header| {
            let (before, rest) = header.split_once(", opaque=\"").unwrap();
            before.to_owned() + &rest[rest.find('"').unwrap() + 1..]
        }),
        next("upper-case response", &|header| {
            let (before, rest) = header.split_once("response=\"").unwrap();
            format!("{before}response=\"{}{}", rest[..32].to_uppercase(), &rest[32..])
        }),
        next("unquoted realm, in another order", &|header| {
            reversed(header.replace("\"whatwatt-9F8124\"", "whatwatt-9F8124"))
        }),
    ]
}

// Ruling: ACCESS-11.
#[tokio::test]
async fn tolerant_mode_accepts_deviations_and_strict_mode_does_not() {
    let (tolerant, strict) = (protected(Setup::default()).await, strict().await);
    let mut session = Session::begin(&tolerant).await;
    for (name, header) in variants(&mut session) {
        assert_eq!(status(&get(&tolerant, ACTIONS, &header).await), 200, "{name}: {header}");
    }
    let mut session = Session::begin(&strict).await;
    for (name, header) in variants(&mut session) {
        assert!(!is_stale(&get(&strict, ACTIONS, &header).await), "{name}: {header}");
    }
}

// Ruling: ACCESS-11.
#[tokio::test]
async fn both_modes_accept_parameters_in_any_order_and_spacing() {
    for fixture in [protected(Setup::default()).await, strict().await] {
        let header = Session::begin(&fixture).await.get(ACTIONS).to_string();
        let mut parts: Vec<&str> = header.strip_prefix("Digest ").unwrap().split(", ").collect();
        parts.reverse();
        let header = format!("digest  {} ,, unknown=\"a, b\\\"c\"", parts.join(","));
        assert_eq!(status(&get(&fixture, ACTIONS, &header).await), 200, "{header}");
    }
}

// Ruling: ACCESS-11.
#[tokio::test]
async fn tolerant_mode_accepts_plain_md5_under_either_name() {
    let (tolerant, strict) = (protected(Setup::default()).await, strict().await);
    for (fixture, expected) in [(&tolerant, 200), (&strict, 401)] {
        for name in ["MD5", "MD5-sess"] {
            let mut session = Session::begin(fixture).await;
            session.0.algorithm = "MD5".parse().unwrap();
            let header = session.get(ACTIONS).to_string();
            let header = header.replace("algorithm=MD5", &format!("algorithm={name}"));
            assert_eq!(status(&get(fixture, ACTIONS, &header).await), expected, "{header}");
        }
    }
}

// Ruling: ACCESS-11.
#[tokio::test]
async fn tolerant_mode_accepts_any_first_count_and_new_cnonces() {
    let (tolerant, strict) = (protected(Setup::default()).await, strict().await);
    let mut session = Session::begin(&tolerant).await;
    session.0.nc = 41;
    for _ in 0..3 {
        // The client draws a new cnonce for each request and derives the key from it.
        let header = session.get(ACTIONS).to_string();
        assert_eq!(status(&get(&tolerant, ACTIONS, &header).await), 200, "{header}");
    }
    let mut session = Session::begin(&strict).await;
    session.0.nc = 41;
    assert!(is_stale(&get(&strict, ACTIONS, &session.get(ACTIONS).to_string()).await));
    let mut session = Session::begin(&strict).await;
    assert_eq!(status(&get(&strict, ACTIONS, &session.get(ACTIONS).to_string()).await), 200);
    let other_key = session.get(ACTIONS).to_string();
    assert!(!is_stale(&get(&strict, ACTIONS, &other_key).await), "the key of the session is fixed");
}

// Ruling: ACCESS-12.
#[tokio::test]
async fn an_absolute_url_is_a_valid_digest_uri() {
    let fixture = protected(Setup::default()).await;
    let mut session = Session::begin(&fixture).await;
    for (uri, expected) in [
        ("http://x/api/v1/actions?a=1", 200),
        ("/api/v1/actions?a=1", 200),
        ("/api/v1/actions", 401),
        ("http://x/api/v1/actions", 401),
        ("http://x", 401),
        ("", 401),
    ] {
        let header = session.get(uri).to_string();
        let answer = get(&fixture, "/api/v1/actions?a=1", &header).await;
        assert_eq!(status(&answer), expected, "{uri}");
    }
}

#[tokio::test]
async fn a_url_in_the_query_is_not_taken_for_an_absolute_uri() {
    let fixture = protected(Setup::default()).await;
    let mut session = Session::begin(&fixture).await;
    let path = "/api/v1/actions?x=http://a/b";
    for (uri, expected) in [
        (path, 200),
        ("http://x/api/v1/actions?x=http://a/b", 200),
        ("/b", 401),
        ("http://a/b", 401),
        ("http://x/api/v1/actions", 401),
    ] {
        let header = session.get(uri).to_string();
        assert_eq!(status(&get(&fixture, path, &header).await), expected, "{uri}");
    }
}

#[tokio::test]
async fn old_firmware_uses_basic_authentication() {
    let fixture = protected(Setup { firmware: "1.9.0", ..Setup::default() }).await;
    let answer = fixture.get(ACTIONS).await;
    assert_eq!((status(&answer), &*error(&answer)), (401, "unauthorized"));
    assert_eq!(challenge(&answer), "Basic realm=\"whatwatt-9F8124\"");
    let encode = |text: &str| {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(text)
    };
    let right = encode(&format!(":{PASSWORD}"));
    for header in [format!("Basic {right}"), format!("basic  {right}")] {
        assert_eq!(status(&get(&fixture, ACTIONS, &header).await), 200, "{header}");
    }
    for wrong in [
        format!("Basic {}", encode(&format!("admin:{PASSWORD}"))),
        format!("Basic {}", encode(":wrong")),
        format!("Basic {}", encode(PASSWORD)),
        format!("Basic {}", encode(&format!(":{PASSWORD}x"))),
        format!("Basic{right}"),
        format!("Bearer {right}"),
        "Basic".to_owned(),
        "Basic !".to_owned(),
        String::new(),
    ] {
        let answer = get(&fixture, ACTIONS, &wrong).await;
        assert_eq!(challenge(&answer), "Basic realm=\"whatwatt-9F8124\"", "{wrong}");
    }
}

// Ruling: HTTP-4.
#[tokio::test]
async fn authentication_is_checked_before_path_method_and_licence() {
    let fixture =
        protected(Setup { license: wwsim::device::License::Free, ..Setup::default() }).await;
    let requests = [
        ("GET", "/nowhere", 404),
        ("PUT", ACTIONS, 405),
        ("GET", ACTIONS, 404),
        ("OPTIONS", "/", 405),
        ("GET", "/", 200),
    ];
    for (method, path, _) in requests {
        let answer = fixture.exchange_one(&request(method, path, "")).await;
        assert_eq!(status(&answer), 401, "{method} {path}");
    }
    let mut session = Session::begin(&fixture).await;
    for (method, path, expected) in requests {
        let method_name = HttpMethod::from(method);
        let context =
            AuthContext::new_with_method("", PASSWORD, path, Option::<&[u8]>::None, method_name);
        let header = session.header(&context).to_string();
        let answer = fixture
            .exchange_one(&request_with(method, path, &[("Authorization", &header)], ""))
            .await;
        assert_eq!(status(&answer), expected, "{method} {path}");
    }
}
