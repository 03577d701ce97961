setTimeout(() => history.back(), 300);
