"""Fetches a maildrop with poplib over TLS. stdin: {host, port, ca, implicit, user, password}."""

import base64
import json
import poplib
import ssl
import sys

poplib._MAXLINE = 1 << 20

job = json.load(sys.stdin)
context = ssl.create_default_context(cafile=job["ca"])
if job["implicit"]:
    client = poplib.POP3_SSL(job["host"], job["port"], timeout=60, context=context)
else:
    client = poplib.POP3(job["host"], job["port"], timeout=60)
    client.stls(context=context)
client.user(job["user"])
client.pass_(job["password"])
mails = []
for number in range(1, client.stat()[0] + 1):
    mail = b"".join(line + b"\r\n" for line in client.retr(number)[1])
    mails.append(base64.b64encode(mail).decode())
client.quit()
json.dump(mails, sys.stdout)
