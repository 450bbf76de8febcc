/**
 * A POP3 server that knows nothing of where mail is kept: the application opens a maildrop at each
 * login. Usable on its own as `ringpost/pop3-server`.
 */
export type { TlsContexts } from "../shared/tls.js";
export type {
  AuthMethod,
  PlainAuth,
  SaslExchange,
  SaslMechanism,
  SaslReply,
} from "./authentication.js";
export type { Capability } from "./capabilities.js";
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
  TlsInfo,
} from "./maildrop.js";
export type { Pop3Limits, Pop3ServerOptions } from "./options.js";
export { createPop3Server, type ListenOptions, type Pop3Server } from "./server.js";
