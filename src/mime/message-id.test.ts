import { expect, test } from "vitest";
import { hasMessageId } from "./message-id.js";

test.each<[string, string, boolean]>([
  ["first", "Message-ID: <a@b>\r\nSubject: x\r\n\r\ntext", true],
  ["after others", "Subject: x\r\nMESSAGE-id : <a@b>\r\n\r\ntext", true],
  ["in the body", "Subject: x\r\n\r\nMessage-ID: <a@b>\r\n", false],
  ["behind an empty header", "\r\nMessage-ID: <a@b>\r\n", false],
  ["as part of another name", "X-Message-ID: <a@b>\r\n\r\n", false],
  ["empty", "Message-ID: \r\nSubject: <x>\r\n\r\n", false],
  ["in a mail without a body", "Message-ID: <a@b>\r\n", true],
  ["beyond what is looked at", `X: ${"x".repeat(70_000)}\r\nMessage-ID: <a@b>\r\n\r\n`, false],
])("a Message-ID %s", (_, text, has) => {
  expect(hasMessageId(Buffer.from(text))).toBe(has);
});
