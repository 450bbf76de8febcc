import { expect, test } from "vitest";
import { boundaryCounter } from "./boundaries.js";
import { plainText } from "./plain-text.js";

test.each([
  ["<p>a &amp; b<br>c</p>", "a & b\nc"],
  ["<style>p{}</style><script>if (a<b) evil()</script>text", "text"],
  ["<!-- <p>no</p> -->yes<!-- never closed", "yes"],
  ["a < b", "a"],
  ["&#228;&#xe4;&nbsp;&unknown;&#9999999;", "ää &unknown;&#9999999;"],
  ["<", ""],
  ["", ""],
])("%j reads %j", (html, text) => expect(plainText(html)).toBe(text));

test.each([1, 3, 7, 100])("boundaries are counted once, in pieces of %i octets", (octets) => {
  const mail = Buffer.from("Content-Type: multipart/mixed; boundary=a\r\n".repeat(5));
  const count = boundaryCounter();
  let counted = 0;
  for (let at = 0; at < mail.length; at += octets) counted = count(mail.subarray(at, at + octets));
  expect(counted).toBe(5);
});
