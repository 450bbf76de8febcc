/** How hostile the relay is. */
import type { Chances } from "./faults.js";

/** What costs no minutes: nothing is dropped, so that nobody waits for a timeout. */
export const brisk: Chances = {
  control: { doubled: 0.03, "slow reply": 0.02 },
  broker: {},
  peer: { doubled: 0.1, delayed: 0.1, "bounced: forged": 0.03, "slow reply": 0.03 },
  session: { "QUIT lost": 0.05, "QUIT unanswered": 0.05 },
  rewritten: 0.3,
  sizesMax: [Infinity],
  sizeMails: 40,
  delayMaxMs: 300,
  slowMaxMs: 200,
};

/** All that a mail system does to mails, often. What is for the ring and gets no word of it costs minutes. */
export const hostile: Chances = {
  control: {
    "word lost": 0.01,
    "cut in DATA": 0.01,
    "cut, taken": 0.02,
    "cut, lost": 0.02,
    "slow reply": 0.02,
    greylisted: 0.03,
    doubled: 0.02,
  },
  broker: {
    dropped: 0.005,
    "word lost": 0.005,
    delayed: 0.005,
    doubled: 0.04,
    "cut in DATA": 0.02,
    "cut, taken": 0.04,
    "cut, lost": 0.03,
    "slow reply": 0.04,
    greylisted: 0.03,
    "bounced: for now": 0.005,
  },
  peer: {
    dropped: 0.05,
    doubled: 0.08,
    delayed: 0.12,
    "cut in DATA": 0.02,
    "cut, taken": 0.04,
    "cut, lost": 0.02,
    "slow reply": 0.03,
    greylisted: 0.03,
    "bounced: delayed": 0.02,
    "bounced: for now": 0.02,
    "bounced: forged": 0.02,
  },
  session: {
    "cut at login": 0.01,
    "cut in RETR": 0.04,
    "cut at DELE": 0.03,
    "QUIT lost": 0.03,
    "QUIT unanswered": 0.03,
  },
  rewritten: 0.3,
  sizesMax: [Infinity, Infinity, 8_000_000, 3_000_000, 1_200_000],
  sizeMails: 40,
  delayMaxMs: 3_000,
  slowMaxMs: 2_000,
};
