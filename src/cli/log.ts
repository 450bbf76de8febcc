import pino, { type Logger } from "pino";
import pretty from "pino-pretty";
import type { LogLevel } from "../config/index.js";
import type { Output } from "./output.js";

/** A member's log on stdout: JSON lines, and for people at a terminal the same in colour. */
export function createLog(level: LogLevel, output: Output): Logger {
  const options = { level, base: null };
  if (!output.isTerminal) return pino(options, pino.destination({ dest: 1, sync: true }));
  return pino(options, pretty({ destination: 1, sync: true, colorize: output.color }));
}
