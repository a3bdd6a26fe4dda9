//! The property of an `Authorization` header with any bytes. Shared by the fuzz target and the test
//! that replays its corpus; each brings the items of `digest` into scope.

use super::{Claim, Credentials, DigestMode, body_sum, limits, parse};

/// Panics if a parsed value does not come from the header, or if the credentials cannot be checked.
pub(super) fn holds(bytes: &[u8]) {
    let tolerant = parse(bytes, DigestMode::Tolerant);
    let strict = parse(bytes, DigestMode::Strict);
    if let Ok(strict) = strict {
        assert_eq!(tolerant, Ok(strict), "strict accepts nothing that tolerant refuses");
    }
    let Ok(credentials) = tolerant else { return };
    assert!(credentials.cnonce.len() <= limits::CNONCE_CHARS);
    assert_eq!(u32::from_str_radix(credentials.nc, 16), Ok(credentials.count));
    let Credentials { username, realm, nonce, uri, cnonce, nc, opaque, .. } = credentials;
    for value in [username, realm, nonce, uri, cnonce, nc].into_iter().chain(opaque) {
        let place = (value.as_ptr() as usize).checked_sub(bytes.as_ptr() as usize);
        let inside = place.is_some_and(|place| place + value.len() <= bytes.len());
        assert!(inside, "values are parts of the header");
    }
    let claim = Claim {
        realm: "whatwatt-9F8124",
        password: "secret",
        method: "GET",
        body: body_sum(bytes),
        session: None,
    };
    // The result does not matter; the check must not panic.
    let _either = credentials.verify(&claim, DigestMode::Strict);
    let _either = credentials.verify(&claim, DigestMode::Tolerant);
}
