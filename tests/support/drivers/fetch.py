"""Fetches a maildrop with poplib. stdin: {host, port, user, password, delete}; stdout: JSON."""

import base64
import json
import poplib
import sys

# poplib's own limit of 2048 octets a line is shorter than lines that SMTP may carry.
poplib._MAXLINE = 1 << 20

job = json.load(sys.stdin)
client = poplib.POP3(job["host"], job["port"], timeout=60)
client.user(job["user"])
client.pass_(job["password"])
uids = [line.split(b" ")[1].decode() for line in client.uidl()[1]]
mails = []
for number, uid in enumerate(uids, start=1):
    lines = client.retr(number)[1]
    mail = b"".join(line + b"\r\n" for line in lines)
    mails.append({"uid": uid, "base64": base64.b64encode(mail).decode()})
    if job["delete"]:
        client.dele(number)
client.quit()
json.dump({"mails": mails}, sys.stdout)
