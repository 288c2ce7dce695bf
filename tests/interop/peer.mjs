// The npm package `jose` as a peer: one JSON object a line in, one a line out. See peer.py for what they say.

import { createInterface } from 'node:readline';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

// Installed elsewhere, beside what the tests build.
const require = createRequire(`${process.argv[2]}/`);
const jose = await import(pathToFileURL(require.resolve('jose')).href);

async function verify({ verify: token, jwks, alg, iss, aud }) {
  const options = { algorithms: [alg], issuer: iss, audience: aud, typ: 'at+jwt',
    requiredClaims: ['sub', 'exp', 'iat', 'jti'] };
  const key = alg.startsWith('HS') ? await jose.importJWK(jwks.keys[0], alg) : jose.createLocalJWKSet(jwks);
  return { claims: (await jose.jwtVerify(token, key, options)).payload };
}

async function sign({ sign: claims, header, alg, key }) {
  const secret = alg.startsWith('HS') ? jose.base64url.decode(key) : await jose.importPKCS8(key, alg);
  return { token: await new jose.SignJWT(claims).setProtectedHeader({ ...header, alg }).sign(secret) };
}

for await (const text of createInterface({ input: process.stdin })) {
  const line = JSON.parse(text);
  let answer;
  try {
    answer = 'verify' in line ? await verify(line) : await sign(line);
  } catch (error) {
    if (!(error instanceof jose.errors.JOSEError)) throw error;
    answer = { refused: error.code };
  }
  console.log(JSON.stringify(answer));
}
