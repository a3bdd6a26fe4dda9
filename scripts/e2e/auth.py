"""requests against a protected device: what each of its ways to authenticate comes to."""

import os
import sys

import requests
from requests.auth import HTTPBasicAuth, HTTPDigestAuth

device, digest, basic = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
# requests writes str as Latin-1; bytes go as they are, in UTF-8.
password = os.environ["PASSWORD"].encode()
url = device + "/api/v1/actions"

for auth, expected in ((HTTPDigestAuth("", password.decode()), digest), (HTTPBasicAuth(b"", password), basic)):
    with requests.Session() as session:
        session.auth = auth
        # Several, so that a nonce is used again, with the client nonce that requests draws for each.
        for count in range(12):
            reply = session.get(url, params={"count": count})
            assert reply.status_code == expected, (auth, count, reply.status_code, reply.headers)
            asked = len(reply.history)
            assert count == 0 or expected == 401 or asked == 0, f"{auth}: asked again at {count}"
        reply = session.post(url, data='{"actions":[]}')
        assert reply.status_code == expected, (auth, reply.text)
