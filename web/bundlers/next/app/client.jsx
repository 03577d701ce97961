'use client';

import { useEffect, useRef } from 'react';
import { run } from '../../app.js';

export function Client() {
  const begun = useRef(false);
  useEffect(() => {
    // Strict mode mounts twice in development.
    if (!begun.current) run();
    begun.current = true;
  }, []);
  return <p>logferry</p>;
}
