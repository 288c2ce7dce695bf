"""PyJWT as a peer: one JSON object a line in, one a line out.

{"verify": token, "jwks": {...}, "alg": ..., "iss": ..., "aud": ...} -> {"claims": {...}} or {"refused": reason}
{"sign": claims, "header": {...}, "alg": ..., "key": PEM, or the secret of HMAC in base64url} -> {"token": ...}
"""

import base64
import json
import sys

import jwt


def verify(line):
    header = jwt.get_unverified_header(line["verify"])
    if header.get("typ") != "at+jwt":
        raise jwt.InvalidTokenError("another type")
    key = jwt.PyJWKSet.from_dict(line["jwks"])[header["kid"]]
    claims = jwt.decode(
        line["verify"],
        key,
        algorithms=[line["alg"]],
        issuer=line["iss"],
        audience=line["aud"],
        options={"require": ["iss", "aud", "sub", "exp", "iat", "jti"]},
    )
    return {"claims": claims}


def sign(line):
    key = line["key"]
    if line["alg"].startswith("HS"):
        key = base64.urlsafe_b64decode(key + "=" * (-len(key) % 4))
    return {"token": jwt.encode(line["sign"], key, algorithm=line["alg"], headers=line["header"])}


for text in sys.stdin:
    line = json.loads(text)
    try:
        answer = verify(line) if "verify" in line else sign(line)
    except (jwt.PyJWTError, KeyError) as error:
        answer = {"refused": repr(error)}
    print(json.dumps(answer), flush=True)
