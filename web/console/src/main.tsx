import { render } from 'preact';
import { Console } from './console.tsx';
import { startTheme } from './ui/theme.ts';

startTheme();
const root = document.getElementById('root');
if (root) render(<Console />, root);
