import { render } from "preact";
import "uplot/dist/uPlot.min.css";
import "./styles/index.css";
import { App } from "./app";
import { initTheme } from "./lib/theme";

initTheme();
const root = document.getElementById("app");
if (root) render(<App />, root);
