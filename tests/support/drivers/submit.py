"""Submits a mail with smtplib. stdin: {host, port, ca, implicit, method, user, password, from, to, mail}."""

import base64
import json
import smtplib
import ssl
import sys

job = json.load(sys.stdin)
context = ssl.create_default_context(cafile=job["ca"])
if job["implicit"]:
    client = smtplib.SMTP_SSL(job["host"], job["port"], timeout=60, context=context)
else:
    client = smtplib.SMTP(job["host"], job["port"], timeout=60)
    client.starttls(context=context)
client.ehlo("python.test")
client.user, client.password = job["user"], job["password"]
objects = {"PLAIN": client.auth_plain, "LOGIN": client.auth_login}
client.auth(job["method"], objects[job["method"]])
client.sendmail(job["from"], [job["to"]], base64.b64decode(job["mail"]))
client.quit()
