import { render } from "preact";
import { App } from "./parts/App";
import { keepAnnouncing, keepOpened } from "./state/app";
import { takeToken } from "./state/token";
import "./style.css";

const root = document.getElementById("app");
if (root !== null) {
  takeToken().finally(() => {
    keepOpened();
    keepAnnouncing();
    render(<App />, root);
  });
}
