import { chordArguments } from "./chord-arguments.js";
import { configJsonc, configOptions } from "./config.js";
import { controlMail, controlQuestion } from "./control-mail.js";
import { ebmMail, ebmPacket, ebmSubject } from "./ebm.js";
import { ebmGateways } from "./ebm-mail.js";
import type { Fuzzer } from "./fuzzer.js";
import { journalScan, journalSplice } from "./journal.js";
import { mailAddress } from "./mail-address.js";
import { mailView } from "./mail-view.js";
import { messageId } from "./message-id.js";
import { peerRequests } from "./peer-requests.js";
import { pop3Server, pop3Session } from "./pop3-dialogue.js";
import { pop3Lines, pop3Sasl, pop3Stuffing } from "./pop3-line.js";
import { ringFrame } from "./ring-frame.js";
import { ringMessage } from "./ring-message.js";
import { smtpData } from "./smtp-data.js";
import { smtpDialogue } from "./smtp-dialogue.js";
import { smtpPath } from "./smtp-path.js";
import { storeFiles } from "./store-files.js";

export const fuzzers: readonly Fuzzer[] = [
  ...[smtpDialogue, smtpData, smtpPath],
  ...[pop3Server, pop3Session, pop3Lines, pop3Sasl, pop3Stuffing],
  ...[ringFrame, ringMessage, peerRequests],
  ...[journalScan, journalSplice, storeFiles],
  ...[ebmPacket, ebmMail, ebmGateways, ebmSubject, controlQuestion, controlMail],
  ...[mailAddress, messageId, mailView, configJsonc, configOptions, chordArguments],
];
