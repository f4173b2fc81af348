import { theme, toggleTheme } from "../store/theme";

export function ThemeButton() {
  const next = theme.value === "dark" ? "Light" : "Dark";
  return (
    <button type="button" class="quiet" onClick={toggleTheme} title={`${next} colors`}>
      {next}
    </button>
  );
}
