"""Where passwords come from."""

import pytest

from caraway.endpoint import Endpoint, endpoint_password, fixed_password, password_file
from caraway.errors import EndpointError

ENDPOINT = Endpoint(host="h", port=1, password="carried")


async def test_endpoint_password():
    assert await endpoint_password(ENDPOINT) == "carried"
    assert await endpoint_password(Endpoint(host="h", port=1)) == ""


async def test_fixed_password():
    credentials = fixed_password("hunter2")
    assert await credentials(ENDPOINT) == "hunter2"
    assert "hunter2" not in repr(credentials)


@pytest.mark.parametrize(
    ("content", "password"),
    [(b"x", "x"), (b"x\n", "x"), (b"x\r\n", "x"), (b"x\n\n", "x\n"), (b" x \n", " x "), (b"", ""), (b"\xc3\xa9", "é")],
)
async def test_password_file(tmp_path, content, password):
    path = tmp_path / "password"
    path.write_bytes(content)
    assert await password_file(path)(ENDPOINT) == password


async def test_password_file_is_read_each_time(tmp_path):
    path = tmp_path / "password"
    credentials = password_file(str(path))
    with pytest.raises(EndpointError, match="No such file"):
        await credentials(ENDPOINT)
    for password in ("one", "two"):
        path.write_text(password)
        assert await credentials(ENDPOINT) == password


@pytest.mark.parametrize(("content", "error"), [(b"hunter2\xff", "UTF-8"), (b"x" * 65537, "65536")])
async def test_password_file_errors(tmp_path, content, error):
    path = tmp_path / "password"
    path.write_bytes(content)
    with pytest.raises(EndpointError, match=error) as caught:
        await password_file(path)(ENDPOINT)
    assert "hunter2" not in f"{caught.value} {caught.value.__cause__}"
