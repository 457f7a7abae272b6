"""Where and as whom to connect: URIs, `.vv` files, TLS policy, credentials, proxies as one immutable `Endpoint`.

Nothing here connects. Facts: spec/wire.md 4, 14, 15.
"""

from caraway.endpoint.channels import CHANNEL_NAMES
from caraway.endpoint.credentials import Credentials, endpoint_password, fixed_password, password_file
from caraway.endpoint.endpoint import Endpoint, Route
from caraway.endpoint.proxy import Proxy
from caraway.endpoint.tls import check_certificate, server_hostname, ssl_context
from caraway.endpoint.verify import Verify
from caraway.endpoint.viewer_settings import OvirtSettings, ViewerSettings

__all__ = [
    "CHANNEL_NAMES",
    "Credentials",
    "Endpoint",
    "OvirtSettings",
    "Proxy",
    "Route",
    "Verify",
    "ViewerSettings",
    "check_certificate",
    "endpoint_password",
    "fixed_password",
    "password_file",
    "server_hostname",
    "ssl_context",
]
