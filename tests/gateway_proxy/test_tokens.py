"""Bearer tokens: what is let pass, what is refused and how, what is remembered, what the upstream is told."""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import json
from unittest import mock

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from jwt.algorithms import HMACAlgorithm, RSAAlgorithm

from gateway_proxy.config.routes import Jwt
from gateway_proxy.features import tokens
from gateway_proxy.features.tokens import JwtCheck, KeyProblem
from tests.gateway_proxy.exchanges import exchange_of, lines_of

SECRET = "a secret of thirty-two bytes or more"
NOW = 1_800_000_000


@functools.cache
def rsa_key(number=0, bits=2048):
    return rsa.generate_private_key(65537, bits)


def public_pem(key):
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(claims=None, secret=SECRET, header=None, **more):
    """A token put together by hand, HS256: PyJWT would refuse to make most of the bad ones."""
    claims = {"sub": "someone", "exp": NOW + 60, **more} if claims is None else claims
    head = b64(json.dumps({"alg": "HS256", "typ": "JWT", **(header or {})}).encode())
    text = f"{head}.{b64(json.dumps(claims).encode())}"
    key = secret if isinstance(secret, bytes) else secret.encode()
    return f"{text}.{b64(hmac.digest(key, text.encode(), hashlib.sha256))}"


class Rig:
    def __init__(self, claims=None, **config):
        self.now = float(NOW)
        given = (
            config if {"secret_file", "public_key_file", "jwks_file"} & config.keys() else {"secret": SECRET, **config}
        )
        self.check = JwtCheck(Jwt(**{"algorithms": ("HS256",), **given}), claims or {}, lambda: self.now)

    def ask(self, token, *fields):
        exchange = exchange_of(f"Authorization: Bearer {token}", *fields)
        return self.check(exchange), exchange

    def passes(self, token):
        refusal, exchange = self.ask(token)
        assert (refusal is None) == bool(exchange.claims)
        return refusal is None

    def why(self, token):
        refusal, exchange = self.ask(token)
        assert refusal.status == 401
        assert exchange.claims == {}
        assert exchange.request_lines == []
        expected = f'Bearer realm="gateway", error="invalid_token", error_description="{refusal.why}"'
        assert lines_of([refusal.lines]) == {"WWW-Authenticate": expected}
        return refusal.why


def test_a_good_token_passes_and_its_claims_are_known():
    refusal, exchange = Rig().ask(signed())
    assert refusal is None
    assert exchange.claims == {"sub": "someone", "exp": NOW + 60}
    assert (exchange.request_lines, exchange.dropped) == ([], set())


@pytest.mark.parametrize("form", ["Bearer {}", "bearer {}", "BEARER   {}", " Bearer {} \t"])
def test_the_scheme_has_no_case(form):
    assert Rig().check(exchange_of(f"authorization:{form.format(signed())}")) is None


@pytest.mark.parametrize(
    "fields", [(), ("Authorization: Basic YTpi",), ("Authorization: Bearertoken",), ("Authorization:",)]
)
def test_no_bearer_token_is_401_without_an_error_code(fields):
    refusal = Rig().check(exchange_of(*fields))
    assert (refusal.status, lines_of([refusal.lines])) == (401, {"WWW-Authenticate": 'Bearer realm="gateway"'})


def test_two_authorizations_are_refused_as_the_next_one_may_read_the_other():
    good = f"Authorization: Bearer {signed()}"
    refusal = Rig().check(exchange_of(good, "Authorization: Bearer forged"))
    assert refusal.status == 400
    assert 'error="invalid_request"' in lines_of([refusal.lines])["WWW-Authenticate"]
    assert Rig().check(exchange_of(good, good)).status == 400


BAD = {
    "not a token in compact form": [
        "",
        "x",
        "a.b",
        "a.b.c.d",
        "a..c",
        "a.b.",
        "a b.c.d",
        "ä.b.c",
        signed(long="x" * 20000),
    ],
    "the token is not valid": [
        signed(secret="another secret of thirty-two bytes."),
        signed()[:-2],
        signed().replace(".", "x.", 1),
        "e30.e30.e30",
        f"{b64(b'[1]')}.e30.e30",
        f"{b64(b'not json')}.e30.e30",
        signed(header={"alg": "none"}),
        signed(header={"alg": "HS512"}),
        signed(header={"alg": "RS256"}),
        signed(header={"alg": ["HS256"]}),
        signed(header={"crit": ["x"], "x": 1}),
        signed(header={"kid": 7}),
        signed([]),
        signed(sub=7),
    ],
    "the token has no exp": [signed({"sub": "x"}), signed({"sub": "x", "exp": None})],
    "exp is not a time": [signed(exp=bad) for bad in ("soon", str(NOW + 60), True, [NOW + 60], 10**400, 1e999)],
    "nbf is not a time": [signed(nbf=None), signed(nbf="now")],
    "the token has expired": [signed(exp=NOW), signed(exp=NOW - 1), signed(exp=0), signed(exp=-(10**300))],
    "the token is not yet valid": [signed(nbf=NOW + 1), signed(nbf=NOW + 0.5)],
    "the token is for another audience": [signed(aud="us")],
}


@pytest.mark.parametrize(("why", "token"), [(why, token) for why, bad in BAD.items() for token in bad])
def test_a_bad_token_is_refused_with_the_reason_and_not_remembered(why, token):
    rig = Rig()
    assert rig.why(token) == why
    assert rig.why(token) == why
    assert len(rig.check._good) == 0


def test_a_token_that_nobody_signed_is_refused():
    text = ".".join(b64(json.dumps(part).encode()) for part in ({"alg": "none"}, {"exp": NOW + 60}))
    assert not Rig().passes(f"{text}.")
    assert not Rig().passes(f"{text}.e30")


def test_times_are_judged_with_leeway_on_both_sides():
    rig = Rig(leeway_s=10)
    assert rig.passes(signed(exp=NOW - 9.5))
    assert rig.passes(signed(nbf=NOW + 10))
    assert not rig.passes(signed(exp=NOW - 10))
    assert not rig.passes(signed(nbf=NOW + 10.5))
    assert Rig().passes(signed(nbf=NOW, iat=NOW + 500))


@pytest.mark.parametrize("leeway_s", [0, 10])
def test_a_remembered_token_is_never_accepted_after_its_time(leeway_s):
    rig = Rig(leeway_s=leeway_s)
    token = signed(exp=NOW + 60)
    assert rig.passes(token)
    rig.now = NOW + 60 + leeway_s - 0.001
    assert rig.passes(token)
    rig.now = NOW + 60 + leeway_s
    assert rig.why(token) == "the token has expired"
    assert len(rig.check._good) == 0


def test_a_good_token_is_checked_once():
    rig = Rig()
    with mock.patch.object(tokens._READER, "decode", wraps=tokens._READER.decode) as decode:
        token = signed()
        assert [rig.passes(token) for _ in range(5)] == [True] * 5
        assert decode.call_count == 1
        assert rig.passes(signed(sub="other"))
        assert decode.call_count == 2


def test_remembered_tokens_are_bounded_and_the_longest_unused_goes_first():
    rig = Rig(cached_tokens=3)
    known = [signed(sub=f"{number}") for number in range(4)]
    with mock.patch.object(tokens._READER, "decode", wraps=tokens._READER.decode) as decode:
        for token in (*known[:3], known[0], known[3], known[0]):
            assert rig.passes(token)
        assert (decode.call_count, len(rig.check._good)) == (4, 3)
        assert rig.passes(known[1])
        assert decode.call_count == 5
    nothing = Rig(cached_tokens=0)
    assert nothing.passes(known[0])
    assert len(nothing.check._good) == 0


def test_very_long_tokens_are_checked_but_not_remembered():
    rig = Rig()
    assert rig.passes(signed(long="x" * 5000))
    assert len(rig.check._good) == 0


def test_issuer_and_audience_are_those_configured():
    rig = Rig(issuer="https://issuer", audience="us")
    assert rig.passes(signed(iss="https://issuer", aud="us"))
    assert rig.passes(signed(iss="https://issuer", aud=["them", "us"]))
    assert rig.why(signed(iss="https://issuer", aud="them")) == "the token is for another audience"
    assert rig.why(signed(iss="https://other", aud="us")) == "the token is from another issuer"
    assert rig.why(signed(iss="https://issuer")) == "the token has no aud"
    assert rig.why(signed(aud="us")) == "the token has no iss"


# -- keys ------------------------------------------------------------------------------------------------------------


def written(tmp_path, content, name="key"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return str(path)


def by_rsa(key, **header):
    return jwt.encode({"sub": "x", "exp": NOW + 60}, key, "RS256", headers=header)


def test_a_secret_file_may_end_in_a_new_line(tmp_path):
    assert Rig(secret_file=written(tmp_path, f"{SECRET}\n".encode())).passes(signed())


def test_a_public_key_checks_what_its_private_key_signed(tmp_path):
    rig = Rig(public_key_file=written(tmp_path, public_pem(rsa_key())), algorithms=("RS256",))
    assert rig.passes(by_rsa(rsa_key()))
    assert rig.passes(by_rsa(rsa_key(), kid="any: there is but one"))
    assert rig.why(by_rsa(rsa_key(1))) == "the token is not valid"


def test_a_public_key_is_never_used_as_a_secret(tmp_path):
    pem = public_pem(rsa_key())
    der = rsa_key().public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    jwk = RSAAlgorithm.to_jwk(rsa_key().public_key())
    alone = Rig(public_key_file=written(tmp_path, pem), algorithms=("RS256",))
    keys = {"keys": [{**json.loads(jwk), "kid": "r"}, {"kty": "oct", "kid": "h", "k": b64(SECRET.encode())}]}
    both = Rig(jwks_file=written(tmp_path, keys, "jwks"), algorithms=("HS256", "RS256"))
    assert both.passes(by_rsa(rsa_key(), kid="r"))
    assert both.passes(signed(header={"kid": "h"}))
    for confused in (pem, pem.strip(), der, jwk.encode()):
        assert not alone.passes(signed(secret=confused))
        for kid in ("r", "h"):
            assert not both.passes(signed(secret=confused, header={"kid": kid}))
    assert not both.passes(by_rsa(rsa_key(), kid="h"))
    assert not both.passes(signed(header={"kid": "r"}))


def oct_key(kid=None, secret=SECRET, **more):
    named = {} if kid is None else {"kid": kid}
    return {"kty": "oct", "k": b64(secret.encode()), **named, **more}


def test_a_key_set_is_asked_for_the_key_that_the_token_names(tmp_path):
    other = SECRET.upper()
    rig = Rig(jwks_file=written(tmp_path, {"keys": [oct_key("a"), oct_key("b", other)]}))
    assert rig.passes(signed(header={"kid": "a"}))
    assert rig.passes(signed(header={"kid": "b"}, secret=other))
    assert rig.why(signed(header={"kid": "b"})) == "the token is not valid"
    for kid in ({"kid": "c"}, {"kid": None}, {}, {"kid": ["a"]}, {"kid": 1}):
        assert rig.why(signed(header=kid)) == "the token is signed with an unknown key"


def test_the_only_key_of_a_set_checks_tokens_that_name_none(tmp_path):
    named = Rig(jwks_file=written(tmp_path, {"keys": [oct_key("a")]}))
    assert named.passes(signed())
    assert not named.passes(signed(header={"kid": "b"}))
    unnamed = Rig(jwks_file=written(tmp_path, {"keys": [oct_key()]}))
    assert unnamed.passes(signed())
    assert unnamed.passes(signed(header={"kid": "b"}))


def test_keys_of_a_set_that_are_for_something_else_are_passed_over(tmp_path):
    keys = [
        oct_key("enc", use="enc"),
        oct_key("alg", alg="HS512"),
        oct_key("ops", key_ops=["sign"]),
        {"kty": "EC", "kid": "ec"},
        {**json.loads(RSAAlgorithm.to_jwk(rsa_key().public_key())), "kid": "rsa"},
        oct_key("a", use="sig", alg="HS256", key_ops=["verify"]),
    ]
    rig = Rig(jwks_file=written(tmp_path, {"keys": keys}))
    assert rig.passes(signed(header={"kid": "a"}))
    for kid in ("enc", "alg", "ops", "ec", "rsa"):
        assert not rig.passes(signed(header={"kid": kid}))


def problem(**config):
    with pytest.raises(KeyProblem) as caught:
        Rig(**config)
    return str(caught.value)


def test_a_weak_or_wrong_secret_is_a_problem_that_says_so(tmp_path):
    assert problem(secret="short") == "secret: 5 bytes; HS256 needs at least 32"
    assert "3 bytes" in problem(secret_file=written(tmp_path, b"abc\n"))
    assert "looks like a key" in problem(secret_file=written(tmp_path, public_pem(rsa_key())))


def test_a_key_file_that_does_not_do_is_a_problem_with_its_name(tmp_path):
    private = rsa_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    curve = public_pem(ec.generate_private_key(ec.SECP256R1()))
    small = public_pem(rsa_key(bits=1024))
    for content, why in [(b"junk", "no public key"), (private, "no public key"), (curve, "RSA"), (small, "1024 bits")]:
        path = written(tmp_path, content)
        said = problem(public_key_file=path, algorithms=("RS256",))
        assert said.startswith(f"{path}: ")
        assert why in said
    assert "cannot be read: No such file" in problem(public_key_file=str(tmp_path / "none"), algorithms=("RS256",))
    assert "cannot be read: Is a directory" in problem(secret_file=str(tmp_path))


PRIVATE_JWK = json.loads(RSAAlgorithm.to_jwk(rsa_key()))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"junk", "not a JWK Set"),
        (b"[" * 100_000, "not a JWK Set"),
        ([], "not a JWK Set"),
        ({"keys": {}}, "not a JWK Set"),
        ({"keys": [1]}, "not a JWK Set"),
        ({"keys": []}, "no key for HS256 or RS256"),
        ({"keys": [{"kty": "EC"}]}, "no key for HS256 or RS256"),
        ({"keys": [oct_key("a"), oct_key("a")]}, "two keys have the same kid"),
        ({"keys": [oct_key("a"), oct_key()]}, "a key without kid among others"),
        ({"keys": [oct_key("a", "short")]}, "key 'a': 5 bytes"),
        ({"keys": [{"kty": "oct", "kid": "a"}]}, "key 'a': not a valid key"),
        ({"keys": [{"kty": "RSA", "kid": "a", "n": "AQAB"}]}, "key 'a': not a valid key"),
        ({"keys": [{**PRIVATE_JWK, "kid": "a", "key_ops": ["sign", "verify"]}]}, "key 'a': not a public key"),
    ],
)
def test_a_key_set_that_does_not_do_is_a_problem(tmp_path, content, why):
    path = written(tmp_path, content)
    said = problem(jwks_file=path, algorithms=("HS256", "RS256"))
    assert said.startswith(f"{path}: ")
    assert why in said


def test_a_secret_of_a_set_is_the_decoded_one():
    assert HMACAlgorithm.from_jwk(oct_key()) == SECRET.encode()


# -- claims ----------------------------------------------------------------------------------------------------------

CLAIMS = {"sub": "X-User-Id", "role": "X-Role"}


def test_claims_are_told_upstream():
    refusal, exchange = Rig(CLAIMS).ask(signed(role="admin"))
    assert refusal is None
    assert lines_of(exchange.request_lines) == {"X-User-Id": "someone", "X-Role": "admin"}
    assert lines_of(Rig(CLAIMS).ask(signed())[1].request_lines) == {"X-User-Id": "someone"}
    assert Rig(CLAIMS).check.request_owned == {b"x-user-id", b"x-role"}


@pytest.mark.parametrize("forged", ["X-Role", "x-role", "X_ROLE", "x_user-id", "X-User_Id"])
def test_the_clients_own_fields_of_these_names_are_dropped(forged):
    for token in (signed(), "bad"):
        exchange = Rig(CLAIMS).ask(token, f"{forged}: admin", f"X-Roles: a\tb{forged}: c")[1]
        assert exchange.dropped == {forged.lower().encode()}


@pytest.mark.parametrize(
    ("claim", "told"),
    [
        ("", ""),
        ("Jürgen Müller", "Jürgen Müller"),
        (7, "7"),
        (True, "true"),
        (1.5, "1.5"),
        (["a", "b c"], "a,b c"),
        ([], ""),
    ],
)
def test_a_claim_is_told_as_text(claim, told):
    assert lines_of(Rig(CLAIMS).ask(signed(role=claim))[1].request_lines)["X-Role"] == told


UNFIT = ["a\r\nX-Role: admin", "a\n", "a\rb", "\0", "a\tb", "\x7f", "\x85", " a", "a ", "\ud800"]


@pytest.mark.parametrize("claim", [*UNFIT, {"a": 1}, ["a,b"], ["a", " b"], ["a", ""], ["a", 1], ["a\nb"], [["a"]]])
def test_a_token_with_a_claim_that_cannot_be_told_unharmed_is_refused(claim):
    rig = Rig(CLAIMS)
    assert rig.why(signed(role=claim)) == "a claim cannot be told in a field"
    assert Rig().passes(signed(role=claim)), "what is not told does not matter"
