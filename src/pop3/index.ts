/**
 * A POP3 server that knows nothing of where mail is kept: the application opens a maildrop at each
 * login. Usable on its own as `ringpost/pop3-server`.
 */
export type {
  AuthAnswer,
  CommitAnswer,
  ConnectAnswer,
  Credentials,
  EndReason,
  Maildrop,
  MaildropMessage,
  MessageBody,
  SessionInfo,
  SessionSummary,
} from "./maildrop.js";
export type { AuthMethod, Capability, Pop3Limits, Pop3ServerOptions } from "./options.js";
export { createPop3Server, type ListenOptions, type Pop3Server } from "./server.js";
