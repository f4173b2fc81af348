import { render } from "preact";
import { signInWithUrlToken } from "./api/client";
import { App } from "./components/App";
import { announceFrames, syncWithUrl } from "./store/app";
import "./style.css";

const root = document.getElementById("app");
if (root !== null) {
  signInWithUrlToken().finally(() => {
    syncWithUrl();
    announceFrames();
    render(<App />, root);
  });
}
