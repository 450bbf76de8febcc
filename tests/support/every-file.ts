/** What vitest loads with every test file. */
import { afterAll } from "vitest";
import { removeTemporaryFolders } from "../../src/smtp/testing-folders.js";

afterAll(removeTemporaryFolders);
