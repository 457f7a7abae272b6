import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caraway.errors import AuthError, ProtocolError
from caraway.wire.ticket import TicketKey, encrypt

KEY = TicketKey.generate()


def test_the_public_key_is_der_of_the_size_that_the_link_reply_has():
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    assert len(KEY.public_bytes) == 162
    assert KEY.public_bytes.startswith(bytes.fromhex("30819f300d06092a864886f70d010101050003818d00"))
    loaded = load_der_public_key(KEY.public_bytes)
    assert (loaded.key_size, loaded.public_numbers().e) == (1024, 65537)


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=21))
def test_a_ticket_brings_the_password(password):
    ticket = encrypt(KEY.public_bytes, password)
    assert len(ticket) == 128
    assert KEY.decrypt(ticket) == password


def test_limits_of_a_password():
    assert KEY.decrypt(encrypt(KEY.public_bytes, "x" * 85)) == "x" * 85
    with pytest.raises(AuthError, match=r"86 bytes.*at most 85"):
        encrypt(KEY.public_bytes, "x" * 86)
    with pytest.raises(AuthError, match="86 bytes"):
        encrypt(KEY.public_bytes, "é" * 43)


@pytest.mark.parametrize("password", ["geheim\0", "geheim\ud800"])
def test_a_password_that_no_ticket_carries_is_not_told(password):
    with pytest.raises(AuthError) as caught:
        encrypt(KEY.public_bytes, password)
    assert "geheim" not in repr(caught.value)


def test_bytes_that_are_not_utf_8_pass_unchanged():
    assert KEY.decrypt(encrypt(KEY.public_bytes, "\udcff")) == "\udcff"


def test_text_behind_the_first_nul_does_not_count():
    from cryptography.hazmat.primitives.asymmetric import padding
    from cryptography.hazmat.primitives.hashes import SHA1
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    oaep = padding.OAEP(padding.MGF1(SHA1()), SHA1(), None)
    assert KEY.decrypt(load_der_public_key(KEY.public_bytes).encrypt(b"pw\0rest", oaep)) == "pw"
    assert KEY.decrypt(load_der_public_key(KEY.public_bytes).encrypt(b"pw", oaep)) == "pw"


@pytest.mark.parametrize("ticket", [bytes(128), b"\xff" * 128, encrypt(TicketKey.generate().public_bytes, "pw")])
def test_a_ticket_for_another_key_is_refused(ticket):
    with pytest.raises(AuthError, match="cannot be decrypted"):
        KEY.decrypt(ticket)


@given(st.binary(max_size=200) | st.integers(0, 161).map(lambda at: KEY.public_bytes[:at] + b"\0" * (162 - at)))
def test_a_key_that_is_none_is_a_protocol_error(pub_key):
    with pytest.raises(ProtocolError):
        encrypt(pub_key, "pw")


def test_importing_the_link_loads_no_third_party_module():
    code = "import sys, caraway.wire.link, caraway.wire.sasl; print([m for m in sys.modules if 'cryptography' in m])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
